"""Stands in for a model server: answers each picture with its size in bytes. Started with the port in BENCH_SERVING."""

import base64
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        known = self.path == "/predict" and "image" in body
        answer = json.dumps({"text": str(len(base64.b64decode(body["image"])))} if known else {}).encode()
        self.send_response(200 if known else 422)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        return None


ThreadingHTTPServer(("127.0.0.1", json.loads(os.environ["BENCH_SERVING"])["port"]), Handler).serve_forever()
