const fs = require("fs");
fs.mkdirSync("generated", { recursive: true });
fs.writeFileSync("generated/season.js", 'export const season = "made after installing";\n');
