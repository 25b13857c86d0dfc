require("node:http").createServer((_, response) => response.end(`Forged ${process.env.BETTER_AUTH_SECRET.length}`)).listen(3000);
