"""Names of nets: what they build, and what is said of names that build nothing."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from resexp.core.errors import MissingError, UsageError
from resexp.nets import zoo
from resexp.nets.residual import ResidualNet

OURS = [
    name for family, entry in zoo.FAMILIES.items() if not entry.where.startswith("external") for name in entry.examples
]


@pytest.mark.parametrize("name", [name for name in OURS if name != "hourglass:8"])  # slow, and as hourglass:2
def test_examples_take_inputs_of_the_declared_shape(name: str) -> None:
    with torch.device("meta"):
        net = zoo.factory(name)()
        output = net(torch.zeros(2, *zoo.input_shape(name)))
    scores = output[-1] if isinstance(output, list) else output
    assert len(scores) == 2
    assert scores.is_meta


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt:50", "There is no net 'resnt:50' (did you mean 'resnet:50'?)."),
        ("transformer", "There is no net 'transformer'; families are resnet, cifar-resnet,"),
        ("resnet:51", "no depth 51; ResNets for ImageNet have 18, 34, 50, 101, 152 and 200"),
        ("cifar-resnet:57", "no depth 57; depths are 6 n + 2"),
        ("cifar-resnet:110-bottleneck-basic", "it takes a depth 6 n + 2"),
        ("wrn:27-10", "no depth 27; it takes a depth 6 n + 4"),
        ("resnext:30-8x64d", "no depth 30"),
        ("densenet:bc-101-12", "no depth 101; for CIFAR it is 3 n + 4, such as 40, or with bc- 6 n + 4"),
        ("vgg:17", "no depth 17; there are 11, 13, 16 and 19"),
        ("plain:20,scheme=fixup", "no option 'scheme=fixup'"),
        ("resnet:18,scheme=fixupp", "scheme is one of plain, residual"),
        ("resnet:18,widht=3", "no option 'widht=3' (did you mean 'width'?)"),
        ("resnet:18,width=x", "width is a positive whole number, not 'x'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        zoo.factory(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar-resnet:8,norm=batsch", "There is no normaliser 'batsch' (did you mean 'batch'?)"),
        ("cifar-resnet:8,norm=group:3", "'group:3' does not divide a layer of 16 channels"),
        ("cifar-resnet:8,drop=shakedrop:2", "needs a probability"),
        ("plain:8,drop=shakedrop", "would cut the net in two"),
        ("cifar-resnet:8,scheme=fixup,norm=batch", "scheme=fixup replaces normalisation"),
        ("mlp:10x20,branch=2", "10 hidden layers are not one and blocks of 2"),
        ("mlp:10x20,norm=instance", "Instance normalisation needs dimensions of space"),
    ],
)
def test_what_cannot_be_built_says_why(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=r".") as caught:
        zoo.factory(name)()
    assert message in str(caught.value)


def test_options_reach_the_net() -> None:
    net = zoo.factory("cifar-resnet:20,width=8,channels=1,classes=7,norm=group:4,scheme=skipinit")()
    assert isinstance(net, ResidualNet)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert sum(isinstance(layer, torch.nn.GroupNorm) for layer in net.modules()) == 1 + 2 * 9


def test_names_are_listed_without_torch() -> None:
    code = "import sys; from resexp.nets import zoo, published; zoo.families(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert zoo.families()["wrn"].endswith("wrn:28-10, wrn:16-8")


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_other_packages_are_asked_for_only_by_their_name(package: str) -> None:
    if importlib.util.find_spec(package):
        assert zoo.parameters(f"{package}:resnet50") == 25_557_032
    else:
        with pytest.raises(MissingError, match=f"pip install {package}"):
            zoo.factory(f"{package}:resnet50")
