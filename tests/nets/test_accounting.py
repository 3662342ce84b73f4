"""What a net is said to cost is what torch takes."""

import pytest
import torch
from torch import Tensor

from resexp.nets import zoo
from resexp.nets.accounting import cost, on_meta


@pytest.mark.parametrize("name", ["cifar-resnet:20,width=4", "densenet:bc-100-12", "vgg:16,width=4"])
def test_activations_are_what_training_holds(name: str) -> None:
    net = zoo.factory(name)().train()
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x = torch.randn(2, *zoo.input_shape(name))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(x)
    for own in (*net.parameters(), *net.buffers()):
        saved.pop(own.untyped_storage().data_ptr(), None)
    held = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    assert cost(on_meta(zoo.factory(name)), zoo.input_shape(name), 2).activations == held
