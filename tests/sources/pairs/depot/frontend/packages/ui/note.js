require("fs").writeFileSync("note.txt", "built in the workspace");
