"""Stages and blocks of nets by hand."""

from torch import Tensor, nn
from torch.nn import functional

from resexp.probing.stages import Stage, stages
from tests.probing.nets import WIDTH, Convolutional, Layered, batch, chain, look


def blocks_of(net: nn.Module, *inputs: Tensor) -> list[tuple[int, int]]:
    """Additions and their period, stage by stage."""
    return [(len(stage.additions), stage.period) for stage in stages(look(net, *inputs).additions)]


def test_stages_go_by_spatial_size_even_where_channels_change() -> None:
    def norm(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels)

    net = nn.Sequential(
        Convolutional(norm),
        Convolutional(norm, out=6),
        Convolutional(norm, channels=6, out=6, stride=2),
        Convolutional(norm, channels=6, out=6),
        Convolutional(norm, channels=6, out=6),
    )
    assert blocks_of(net, batch(4, 8, 8)) == [(2, 1), (3, 1)]


def test_attention_and_mlp_make_one_block_and_a_decoder_layer_has_three_additions() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 3)
    assert blocks_of(encoder, batch(5, 16)) == [(6, 2)]
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32, batch_first=True), 3)
    found = stages(look(decoder, batch(5, 16), batch(6, 16)).additions)
    assert [(len(stage.additions), stage.period) for stage in found] == [(9, 3)]
    assert [found[0].block_of(k) for k in range(9)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert found[0].last_of_blocks == (2, 5, 8)


def test_the_streams_of_an_encoder_and_a_decoder_are_two_stages() -> None:
    net = nn.Transformer(16, 2, 2, 2, 32, batch_first=True)
    assert blocks_of(net, batch(5, 16), batch(5, 16)) == [(4, 2), (6, 3)]


def test_residual_within_residual() -> None:
    class Group(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = chain(lambda b, x: x + b.branch(x), blocks=3)
            self.last = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.last(self.inner(x))

    found = look(nn.Sequential(Group(), Group()), batch(WIDTH)).additions
    assert [len(a.enclosed) for a in found] == [0, 0, 0, 3, 0, 0, 0, 3]
    outer, inner = stages(found)
    assert (outer.additions, outer.inner) == ((3, 7), False)
    assert (inner.additions, inner.inner) == ((0, 1, 2, 4, 5, 6), True)


def test_a_net_that_goes_down_and_up_again() -> None:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.bottom, self.up = (Convolutional(lambda c: nn.BatchNorm2d(c)) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            high = self.down(x)
            low = self.bottom(functional.max_pool2d(high, 2))
            return self.up(high + functional.interpolate(low, scale_factor=2))

    found = look(UNet(), batch(4, 8, 8)).additions
    assert [a.name for a in found] == ["down", "bottom", "UNet", "up"]
    assert len(found[2].enclosed) == 1
    assert sum(len(stage.additions) for stage in stages(found)) == 4


def test_an_incomplete_last_block_is_not_taken_for_one() -> None:
    stage = Stage(1, tuple(range(7)), 2)
    assert (stage.blocks, stage.last_of_blocks) == (4, (1, 3, 5))


def test_a_map_and_the_tokens_it_is_flattened_to_are_one_stage() -> None:
    def on_a_map_then_on_tokens(block: Layered, x: Tensor) -> Tensor:
        tokens = (x + block.layer(x)).flatten(1, 2)
        return (tokens + block.other(tokens)).view(x.shape)

    assert blocks_of(chain(on_a_map_then_on_tokens, 3), batch(4, 4, WIDTH)) == [(6, 2)]
