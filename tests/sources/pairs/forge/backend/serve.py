import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

url = urlsplit(os.environ["DATABASE_URL"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{url.scheme} {url.username}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", 8000), Handler).serve_forever()
