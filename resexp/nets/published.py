"""Numbers of parameters that papers and ports give, and where ours differ, by how many and why. Imports no torch.

Papers round, mostly to 0.1 million: `to` is the step. Ports are pytorchcv 0.0.74, timm 1.0, torchvision 0.28.
"""

from dataclasses import dataclass

TORCHVISION = "torchvision"
TIMM = "timm"
PYTORCHCV = "pytorchcv"
HE_2015 = "He et al. 2015, table 6"
WRN = "Zagoruyko and Komodakis 2016, table 5"
DENSENET = "Huang et al. 2017, table 2"
GASTALDI = "Gastaldi 2017"
ONE_NORM_LESS = (
    "pytorchcv has a norm of 64 channels in the stem and one in the first block; here, as in timm, only the latter"
)


@dataclass(frozen=True)
class Published:
    """Parameters of the named net as the source gives them; ours are `difference` more, which the note explains."""

    name: str
    parameters: int
    source: str
    note: str = ""
    difference: int = 0
    to: int = 1

    def agrees(self, count: int) -> bool:
        """Whether a count is the published one, to its rounding, or differs by what is explained."""
        return abs(count - self.difference - self.parameters) <= self.to / 2


TENTH = 100_000
HUNDREDTH = 10_000

TABLE = (
    Published("resnet:18", 11_689_512, TORCHVISION),
    Published("resnet:34", 21_797_672, TORCHVISION),
    Published("resnet:50", 25_557_032, TORCHVISION),
    Published("resnet:101", 44_549_160, TORCHVISION),
    Published("resnet:152", 60_192_808, TORCHVISION),
    Published("resnet:200", 64_673_832, TIMM),
    Published("resnet:18-v2", 11_687_720, TIMM),
    Published("resnet:50-v2", 25_549_352, TIMM),
    Published("resnet:152-v2", 60_185_128, TIMM),
    Published("resnet:200-v2", 64_666_280, PYTORCHCV, ONE_NORM_LESS, -128),
    Published("cifar-resnet:20", 270_000, HE_2015, to=HUNDREDTH),
    Published("cifar-resnet:32", 460_000, HE_2015, to=HUNDREDTH),
    Published("cifar-resnet:44", 660_000, HE_2015, to=HUNDREDTH),
    Published("cifar-resnet:56", 850_000, HE_2015, to=HUNDREDTH),
    Published("cifar-resnet:110", 1_727_962, "He et al. 2015 to 0.1 million; ports with shortcut A exactly"),
    Published("cifar-resnet:1202", 19_400_000, HE_2015, to=TENTH),
    Published("cifar-resnet:20-b", 272_474, PYTORCHCV),
    Published("cifar-resnet:110-b", 1_730_714, PYTORCHCV),
    Published("cifar-resnet:110-b-v2", 1_730_522, PYTORCHCV),
    Published("cifar-resnet:164", 1_704_154, PYTORCHCV),
    Published("cifar-resnet:164-v2", 1_703_258, PYTORCHCV),
    Published(
        "cifar-resnet:1001-v2",
        10_327_706,
        PYTORCHCV,
        "He et al. 2016 say 10.2 million, which is the number without the 149,000 of the norms",
    ),
    Published("plain:56", 853_018, "He et al. 2015, section 4.2", "as many as with shortcuts A, which have none"),
    Published(
        "wrn:28-10",
        36_479_194,
        PYTORCHCV,
        "Keras says 36,497,146, with the 17,952 running means and variances, which are not learned",
    ),
    Published("wrn:16-8", 11_000_000, WRN, to=TENTH),
    Published("wrn:40-4", 8_900_000, WRN, to=TENTH),
    Published("wrn:40-8", 35_748_314, PYTORCHCV),
    Published("resnext:50-32x4d", 25_028_904, TORCHVISION),
    Published("resnext:101-32x8d", 88_791_336, TORCHVISION),
    Published("resnext:50-1x128d", 68_883_240, f"{TORCHVISION}, wide_resnet50_2"),
    Published("resnext:29-8x64d", 34_400_000, "Xie et al. 2017, table 7", to=TENTH),
    Published("resnext:29-16x64d", 68_155_210, PYTORCHCV),
    Published("densenet:121", 7_978_856, TORCHVISION),
    Published("densenet:161", 28_681_000, TORCHVISION),
    Published("densenet:169", 14_149_480, TORCHVISION),
    Published("densenet:201", 20_013_928, TORCHVISION),
    Published("densenet:bc-100-12", 769_162, PYTORCHCV),
    Published("densenet:bc-190-40", 25_600_000, DENSENET, to=TENTH),
    Published(
        "densenet:40-12",
        1_000_000,
        DENSENET,
        "pytorchcv has 599,050: it halves the channels between blocks, which in the paper only DenseNet-C and -BC do",
        to=TENTH,
    ),
    Published("densenet:100-24", 27_200_000, DENSENET, to=TENTH),
    Published("shake-shake:26-2x32d", 2_923_162, PYTORCHCV),
    Published("shake-shake:26-2x96d", 26_200_000, GASTALDI, to=TENTH),
    Published("vgg:11", 132_863_336, TORCHVISION),
    Published("vgg:16", 138_357_544, TORCHVISION),
    Published("vgg:19", 143_667_240, TORCHVISION),
    Published(
        "vgg:16,norm=batch",
        138_365_992,
        f"{TORCHVISION}, vgg16_bn",
        "which keeps a bias before each norm; here, as in pytorchcv, it is left out",
        -4_224,
    ),
    Published(
        "unet", 31_030_658, "Ronneberger et al. 2015, as counted by several ports", "1 channel in, 2 classes out"
    ),
    Published("unet:padded,width=32,classes=1", 7_759_521, "U-Net in the code of Zhou et al. 2018"),
    Published(
        "unet3d,norm=none", 19_069_955, "Cicek et al. 2016", "with biases, but none in up-convolutions, no norms"
    ),
    Published(
        "unet3d",
        19_069_955,
        "Cicek et al. 2016",
        "which counts no norms: their 4,672 gammas and betas stand here in place of 2,336 biases",
        2_336,
    ),
    Published("unet++", 9_041_601, "the code of Zhou et al. 2018", "1 channel in, 1 class out, one output"),
    Published(
        "vnet:ports",
        45_597_898,
        "MONAI, VNet(out_channels=2)",
        "7,940 are in its 5 x 5 x 5 convolution before the last one, the other 244 in its norms, against biases and "
        "slopes of PReLU here; the paper has more convolutions (`vnet`: 65,175,314) and gives no number",
        -8_184,
    ),
    Published(
        "hourglass:2",
        6_570_400,
        "bearpaw/pytorch-pose, 2 stacks of 1 block",
        "the 2 stacks of the first version of the paper were wider and not all alike",
    ),
    Published(
        "hourglass:8",
        25_434_112,
        "bearpaw/pytorch-pose, 8 stacks of 1 block",
        "Sun et al. 2019 (HRNet) say 25.1 million, of which implementation they do not say",
    ),
    Published("mlp:10x20", 3_841, "Prince 2023, problem 11.8"),
    Published("mlp:10x20,norm=batch", 4_241, "Prince 2023, problem 11.8"),
)


def published(name: str) -> tuple[Published, ...]:
    """What is published of the named net."""
    return tuple(entry for entry in TABLE if entry.name == name)
