"""A server of files on this machine, which fails where a test says so."""

import http.server
import threading
from contextlib import contextmanager


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files, but for the server's faults, one a request."""

    def do_GET(self):
        fault = self.server.faults.pop(0) if self.server.faults else {}
        self.server.requests.append(self.path)
        file = self.server.folder / self.path.lstrip("/")
        if "status" in fault or not file.is_file():
            return self.send_error(fault.get("status", 404))
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: fault.get("cut")])
        self.wfile.flush()
        if "hold" in fault:
            self.server.released.wait(20)

    def log_message(self, *args):
        pass


@contextmanager
def serving(folder):
    """Serve a folder: `.folder`, `.url`, `.faults`, `.requests`."""
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.folder, served.faults, served.requests = folder, [], []
        served.released = threading.Event()
        served.url = f"http://127.0.0.1:{served.server_port}/"
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.released.set()
        served.shutdown()
        thread.join()
