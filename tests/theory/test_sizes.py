from resexp.theory import sizes


def test_problem_11_8():
    assert sizes.mlp(1, 1, 10, 20, bias=True, batchnorm=False) == 3841
    assert sizes.mlp(1, 1, 10, 20, bias=True, batchnorm=True) == 4241


def test_problem_11_10():
    assert sizes.block(512, 3, bias=True, batchnorm=True) == 2_360_832
    assert sizes.bottleneck(512, 128, 3, bias=True, batchnorm=True) == 280_832
