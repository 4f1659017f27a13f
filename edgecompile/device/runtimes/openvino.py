"""How OpenVINO opens and runs an artifact: in float32 where it is not int8, as the build did."""

import sys

PACKAGES = ("numpy", "openvino")


class Runtime:
    """OpenVINO, on the CPU."""

    emulates = False

    def __init__(self):
        """Import it without its telemetry."""
        sys.modules["openvino_telemetry"] = None
        import openvino

        self.module, self.version = openvino, openvino.__version__.partition("-")[0]

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; 0 threads = all."""
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        request = self.module.Core().compile_model(path, "CPU", settings).create_infer_request()

        def run(feed):
            answers = request.infer(feed)
            return {output.any_name: answers[output].copy() for output in answers}

        return run
