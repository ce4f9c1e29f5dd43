"""As much of an API server as Helm asks when a chart looks up secrets."""

import base64
import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from helm.tests.chart import NAMESPACE, Object

_VERSION = {"major": "1", "minor": "31", "gitVersion": "v1.31.0"}
_OURS = {"app.kubernetes.io/managed-by": "Helm"}
_RELEASE = {"meta.helm.sh/release-name": "billow", "meta.helm.sh/release-namespace": NAMESPACE}
_MISSING = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


class ApiServer:
    """Answers on this machine while it is entered."""

    def __init__(self, objects: Iterable[Object]) -> None:
        """It knows the kinds of `objects`, and has none of them."""
        self._answers: dict[str, Any] = {"/version": _VERSION, **_discovery(objects)}
        answers = self._answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answers.get(self.path.partition("?")[0])
                body = json.dumps(found or _MISSING).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """For `--kube-apiserver`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def keep_secret(self, name: str, data: Mapping[str, str]) -> None:
        """Have a secret in the chart's namespace, with `data` not encoded, in place of one of that name."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self._answers[f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}"] = {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": _OURS, "annotations": _RELEASE},
            "data": encoded,
        }


def _discovery(objects: Iterable[Object]) -> dict[str, Any]:
    """Path -> which groups, versions and kinds there are."""
    kinds: defaultdict[str, set[str]] = defaultdict(set)
    for each in objects:
        kinds[each["apiVersion"]].add(each["kind"])
    groups = [version.partition("/") for version in kinds if "/" in version]
    found: dict[str, Any] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [
                {"name": group, "versions": [{"groupVersion": f"{group}/{version}", "version": version}]}
                for group, _, version in groups
            ],
        },
    }
    for version, names in kinds.items():
        found[f"/{'apis' if '/' in version else 'api'}/{version}"] = {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [
                {"name": f"{name.lower()}s", "singularName": name.lower(), "namespaced": True, "kind": name}
                | {"verbs": ["get"]}
                for name in sorted(names)
            ],
        }
    return found
