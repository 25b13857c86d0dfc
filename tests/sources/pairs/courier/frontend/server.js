require("node:http").createServer((_, response) => response.end("Courier")).listen(3000);
