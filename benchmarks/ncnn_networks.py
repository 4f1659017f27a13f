"""The convolution networks whose times ncnn publishes for boards, as ncnn's .param text.

Layer for layer what Tencent/ncnn's benchmark folder runs at weights of zero (benchncnn): time does
not depend on them. Parameters of a Convolution: 0 outputs, 1 kernel, 3 stride, 4 padding, 5 bias,
6 weights, 7 groups, 8 int8 (above 100: its output too), 9 a ReLU inside.
"""

from dataclasses import dataclass, field

MOBILENET = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
             (1024, 1)]  # fmt: skip
SQUEEZENET = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]


@dataclass(slots=True)
class Net:
    """Lines of a .param file that grow; `blobs` counts the tensors."""

    lines: list[str] = field(default_factory=list)
    blobs: int = 0

    def add(self, kind: str, inputs: str, outputs: str, parameters: str = "") -> str:
        """Append a layer; return its first output's name."""
        sources, results = inputs.split(), outputs.split()
        counts = f"{len(sources)} {len(results)}"
        name = f"{kind.lower()}_{len(self.lines)}"
        self.lines.append(" ".join([kind, name, counts, *sources, *results, parameters]).rstrip())
        self.blobs += len(results)
        return results[0]

    def then(self, kind: str, source: str, parameters: str = "") -> str:
        """Append a layer of one input and one output."""
        return self.add(kind, source, f"x{self.blobs}", parameters)

    def split(self, source: str) -> tuple[str, str]:
        """Append what gives a tensor to two readers."""
        first, second = f"x{self.blobs}", f"x{self.blobs + 1}"
        self.add("Split", source, f"{first} {second}")
        return first, second

    def text(self) -> str:
        """Return the file."""
        return "\n".join(["7767517", f"{len(self.lines)} {self.blobs}", *self.lines, ""])


def squeezenet() -> str:
    """Return SqueezeNet 1.1, float."""
    net = Net()

    def convolve(x: str, width: int, kernel: int, inputs: int, more: str = "") -> str:
        size = width * kernel * kernel * inputs
        return net.then("Convolution", x, f"0={width} 1={kernel} {more} 5=1 6={size} 9=1")

    x = net.add("Input", "", "data", "0=227 1=227 2=3")
    x = net.then("Pooling", convolve(x, 64, 3, 3, "3=2"), "1=3 2=2")
    width = 64
    for number, (narrow, wide) in enumerate(SQUEEZENET):
        one, three = net.split(convolve(x, narrow, 1, width))
        pair = convolve(three, wide, 1, narrow), convolve(one, wide, 3, narrow, "4=1")
        x, width = net.add("Concat", " ".join(pair), f"x{net.blobs}"), 2 * wide
        if number in (1, 3):
            x = net.then("Pooling", x, "1=3 2=2")
    x = net.then("Pooling", convolve(x, 1000, 1, width, "4=1"), "0=1 4=1")
    net.then("Softmax", x)
    return net.text()


def mobilenet(*, int8: bool) -> str:
    """Return MobileNet v1; between its int8 layers tensors stay int8."""
    net = Net()

    def convolve(  # noqa: PLR0917 - a layer's numbers
        x: str, kind: str, width: int, size: int, form: str, code: int = 102
    ) -> str:
        tail = f" 8={code}" if int8 else ""
        return net.then(kind, x, f"0={width} {form} 5=1 6={size}{tail} 9=1")

    x = net.add("Input", "", "data", "0=224 1=224 2=3")
    x, width = convolve(x, "Convolution", 32, 864, "1=3 3=2 4=1"), 32
    for number, (wide, stride) in enumerate(MOBILENET, 1):
        deep = f"1=3 3={stride} 4=1 7={width}"
        x = convolve(x, "ConvolutionDepthWise", width, 9 * width, deep, 101)
        last = number == len(MOBILENET)
        x = convolve(x, "Convolution", wide, width * wide, "1=1", 2 if last else 102)
        width = wide
    x = net.then("Pooling", x, "0=1 4=1")
    x = net.then("InnerProduct", x, f"0=1000 1=1 2=1024000{' 8=2' * int8}")
    net.then("Softmax", x)
    return net.text()


def resnet18(*, int8: bool) -> str:
    """Return ResNet-18; the int8 one's first convolution of a block gives int8."""
    net = Net()

    def convolve(  # noqa: PLR0917 - a layer's numbers
        x: str, width: int, kernel: int, inputs: int, stride: int, code: int = 0
    ) -> str:
        size, padding = width * kernel * kernel * inputs, kernel // 2
        form = f"0={width} 1={kernel} 3={stride} 4={padding} 5=1 6={size}"
        relu = " 9=1" * (code > 0)
        return net.then("Convolution", x, f"{form}{f' 8={code or 2}' * int8}{relu}")

    x = net.add("Input", "", "data", "0=224 1=224 2=3")
    x, width = net.then("Pooling", convolve(x, 64, 7, 3, 2, 2), "1=3 2=2"), 64
    for wide in (64, 128, 256, 512):
        for block in (0, 1):
            left, right = net.split(x)
            stride = 2 if wide > width else 1
            beside = convolve(right, wide, 1, width, stride) if block == 0 else right
            deep = convolve(left, wide, 3, width, stride, 102)
            deep = convolve(deep, wide, 3, wide, 1)
            summed = net.add("Eltwise", f"{beside} {deep}", f"x{net.blobs}", "0=1")
            x, width = net.then("ReLU", summed), wide
    x = net.then("InnerProduct", net.then("Pooling", x, "0=1 1=7"), "0=1000 1=1 2=512000")
    net.then("Softmax", x)
    return net.text()


NETWORKS = {
    "squeezenet": (squeezenet(), 227),
    "mobilenet": (mobilenet(int8=False), 224),
    "mobilenet_int8": (mobilenet(int8=True), 224),
    "resnet18": (resnet18(int8=False), 224),
    "resnet18_int8": (resnet18(int8=True), 224),
}
"""The .param text, and the edge of its square image."""
