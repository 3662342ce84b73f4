"""What torch's functions do to a signal, by name: which are linear, which hold weights, which add.

A function that is in no list is taken for a nonlinearity: it may then hide a shortcut, but never invents one.
"""

from functools import lru_cache

from resexp.probing.graph import PASSIVE, Flags


def named(text: str) -> frozenset[str]:
    """Names written one after another."""
    return frozenset(text.split())


ADDITIONS = named("add add_ __add__ __radd__ __iadd__ sub sub_ subtract subtract_ __sub__ __rsub__ __isub__ rsub")
FUSED_ADDITIONS = named("addcmul addcmul_ addcdiv addcdiv_ addmm addmm_ addmv addbmm baddbmm baddbmm_ lerp lerp_")
"""Functions whose first argument is one side of a sum, and whose others make up the other side."""
CONCATENATIONS = named("cat concat concatenate hstack vstack dstack column_stack")
CONVOLUTIONS = named(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution conv_tbc"
)
PRODUCTS = CONVOLUTIONS | named(
    "linear bilinear matmul __matmul__ __rmatmul__ mm bmm mv einsum tensordot addmm addmm_ addmv addbmm baddbmm "
    "baddbmm_ dot inner vecdot multi_dot embedding embedding_bag"
)
LOOKUPS = named("embedding embedding_bag")
NORMS = named(
    "batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm native_batch_norm native_layer_norm "
    "native_group_norm normalize renorm rsqrt rsqrt_"
)
ATTENTIONS = named("scaled_dot_product_attention multi_head_attention_forward")
RECURRENCES = named("lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell")
RECTIFIERS = named("relu relu_ relu6 hardtanh hardtanh_ threshold threshold_ clamp_min clamp_min_")

OF_A_SHAPE = named(
    "new_zeros new_ones new_empty new_full new_tensor new_empty_strided zeros_like ones_like empty_like full_like "
    "rand_like randn_like randint_like"
)
"""Functions that take a tensor for its shape: what they give does not depend on the input."""

MULTIPLICATIONS = named(
    "mul mul_ multiply __mul__ __rmul__ __imul__ div div_ divide true_divide __truediv__ __itruediv__"
)
ELEMENTWISE = MULTIPLICATIONS | ADDITIONS | FUSED_ADDITIONS - PRODUCTS
"""A factor or a summand for each unit: a weight in one of these is a scale, a bias or a position, not a layer."""

VIEWS = named(
    "view reshape reshape_as view_as flatten unflatten squeeze squeeze_ unsqueeze unsqueeze_ permute transpose "
    "transpose_ t t_ movedim moveaxis swapaxes swapdims contiguous clone alias to type type_as float half double "
    "bfloat16 roll flip identity"
)
DROPOUTS = named("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout")

LINEAR = (
    CONCATENATIONS
    | ADDITIONS
    | named(
        "view reshape reshape_as view_as expand expand_as flatten unflatten ravel squeeze squeeze_ unsqueeze "
        "unsqueeze_ permute transpose transpose_ t t_ movedim moveaxis swapaxes swapdims contiguous clone alias "
        "detach detach_ to type type_as float half double bfloat16 cpu cuda __getitem__ __setitem__ __get__ "
        "select narrow index_select gather take take_along_dim masked_select scatter scatter_ scatter_add "
        "scatter_add_ index_add index_add_ index_copy index_copy_ index_put index_put_ copy_ unbind split "
        "split_with_sizes chunk tensor_split hsplit vsplit stack repeat repeat_interleave tile roll flip fliplr "
        "flipud rot90 pad constant_pad_nd sum mean nansum cumsum trace diag diagonal diag_embed tril triu neg "
        "neg_ negative __neg__ real imag conj resolve_conj view_as_real view_as_complex as_strided unfold fold "
        "pixel_shuffle pixel_unshuffle channel_shuffle upsample interpolate grid_sample avg_pool1d avg_pool2d "
        "avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d max_pool1d max_pool2d max_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d boolean_dispatch lp_pool1d lp_pool2d dropout "
        "dropout_ dropout1d dropout2d dropout3d feature_dropout alpha_dropout feature_alpha_dropout "
        "native_dropout masked_fill masked_fill_ requires_grad_ fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 "
        "fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn broadcast_to broadcast_tensors atleast_1d atleast_2d "
        "_to_copy to_dense to_padded_tensor pack_padded_sequence pad_packed_sequence _pack_padded_sequence "
        "_pad_packed_sequence zero_ set_ fill_diagonal_"
    )
)
"""Linear in the signal, pooling included: a shortcut that is pooled is still one."""


@lru_cache(maxsize=4096)
def flags_of(name: str, signals: int, weighted: bool) -> Flags:
    """What the function of that name is. signals: how many of its operands depend on the input (2: or more)."""
    product, norm = name in PRODUCTS, name in NORMS
    factor = name in ELEMENTWISE or name == "prelu"
    linear = name in LINEAR or norm or (signals == 1 and name != "prelu" and (product or factor))
    found = Flags(
        weighted=weighted and not factor,
        scaled=weighted and factor,
        nonlinear=not linear,
        product=product and weighted,
        convolution=name in CONVOLUTIONS and weighted,
        norm=norm,
        attention=name in ATTENTIONS or (product and signals > 1),
        recurrent=name in RECURRENCES,
        activation=not linear and signals == 1 and (not weighted or name == "prelu"),
        rectifier=name in RECTIFIERS,
    )
    return PASSIVE if found == PASSIVE else found
