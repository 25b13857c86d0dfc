const fs = require("fs");
fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/index.js", `exports.text = ${JSON.stringify(fs.readFileSync("note.txt", "utf8"))};\n`);
