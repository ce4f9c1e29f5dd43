# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "litserve==0.2.19", "onnxruntime==1.31.1", "openvino==2026.4.1", "opencv-python-headless>=4.10", "numpy>=2",
# ]
# ///
"""The recogniser behind LitServe with dynamic batching: POST /predict `{"image": base64}` -> `{"text"}`."""

# pyright: basic, reportMissingImports=false

import base64

import litserve

from benchmarks.recogniser import Recogniser, Settings


class Api(litserve.LitAPI):
    """Decodes, reads, answers."""

    def setup(self, device) -> None:
        self.recogniser = Recogniser(Settings.of_environment())

    def decode_request(self, request):
        return base64.b64decode(request["image"])

    def batch(self, inputs):
        return inputs

    def predict(self, x):
        return self.recogniser.read(x)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"text": output}


if __name__ == "__main__":
    settings = Settings.of_environment()
    api = Api(max_batch_size=settings.max_batch, batch_timeout=settings.max_wait_ms / 1000)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=settings.processes, fast_queue=True, timeout=120
    )
    server.run(host="127.0.0.1", port=settings.port, num_api_servers=1, log_level="warning", generate_client_file=False)
