"""The names that training code is made of: what a call's name tells of its event kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Methods of optimizers, scalers, models, losses and samplers, whatever their receiver is called.
METHODS: Final[Mapping[str, str]] = {
    "step": "optimizer.step",
    "zero_grad": "optimizer.zero_grad",
    "backward": "loss.backward",
    "unscale_": "scaler.unscale",
    "update": "scaler.update",
    "scale": "scaler.scale",
    "train": "model.train",
    "eval": "model.eval",
    "requires_grad_": "model.freeze",
    "load_state_dict": "model.load",
    "state_dict": "model.save",
    "to_empty": "model.move",
    "set_epoch": "sampler.set_epoch",
    "add_param_group": "optimizer.new",
    "clip_grad_norm_": "grad.clip",
    "clip_grad_value_": "grad.clip",
}
# Calls that wrap what they are given, or rebuild it, by the last part of their name.
WRAPPERS: Final = frozenset({"compile", "fully_shard", "prepare", "initialize", "setup"})
PARALLEL: Final = frozenset(
    {"DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "DDP", "FSDP"}
)
# Methods that hand back the model that they moved.
MOVERS: Final = frozenset("to cuda cpu half float double bfloat16".split())
# Decorators of functions that something else than Python compiles, from source or bytecode.
COMPILERS: Final = frozenset(
    "jit njit vectorize guvectorize stencil cfunc script script_method script_if_tracing".split()
)
DROPOUTS: Final = frozenset(
    f"torch.nn.functional.{name}"
    for name in "dropout alpha_dropout dropout1d dropout2d dropout3d feature_alpha_dropout".split()
)
ATTENTION: Final = "torch.nn.functional.scaled_dot_product_attention"
DROPPING: Final = DROPOUTS | {ATTENTION}
# Operations that a loss must not be given twice, and the losses, as functions of torch.
NORMALISED: Final = frozenset({"softmax", "log_softmax", "sigmoid"})
LOSSES: Final = frozenset(
    f"torch.nn.functional.{name}"
    for name in "cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss huber_loss "
    "binary_cross_entropy binary_cross_entropy_with_logits".split()
)
LAYERS: Final = {
    "torch.nn.Softmax": "softmax",
    "torch.nn.Sigmoid": "sigmoid",
    "torch.nn.LogSoftmax": "log_softmax",
}
# Methods of modules and tensors that hand back a handle of what they have registered.
HOOKS: Final = frozenset(
    "register_hook register_forward_hook register_forward_pre_hook register_backward_hook "
    "register_full_backward_hook register_full_backward_pre_hook "
    "register_post_accumulate_grad_hook".split()
)
# Methods, and functions of torch.nn.init, that write all of a tensor.
FILLERS: Final = frozenset(
    "fill_ zero_ copy_ mul_ normal_ uniform_ constant_ ones_ zeros_ eye_ dirac_ sparse_ "
    "orthogonal_ trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ "
    "kaiming_normal_".split()
)
SAVES: Final = frozenset(
    {"torch.save", "torch.distributed.checkpoint.save", "torch.distributed.checkpoint.async_save"}
)
# Functions of torch.distributed that ask and do not communicate.
QUERIES: Final = frozenset(
    "get_rank get_world_size is_initialized is_available get_backend is_nccl_available "
    "is_gloo_available is_mpi_available is_torchelastic_launched get_process_group_ranks "
    "get_group_rank get_global_rank get_node_local_rank".split()
)
# Collectives whose first argument is a rank's own part of what all bring together.
REDUCTIONS: Final = frozenset({"all_reduce", "broadcast", "reduce"})
# Collectives that leave the same with all ranks in their first argument.
GATHERINGS: Final = frozenset({"all_gather", "all_gather_into_tensor"})
# Functions of torch, by lower-case name, that give something other than a tensor.
MAKERS: Final = frozenset(
    "torch.load torch.hub.load torch.jit.script torch.jit.trace torch.jit.load "
    "torch.func.functionalize torch.nn.utils.weight_norm torch.nn.utils.spectral_norm "
    "torch.nn.utils.parametrizations.weight_norm torch.nn.utils.parametrizations.spectral_norm "
    "torch.nn.utils.parametrizations.orthogonal torch.optim.swa_utils.get_ema_multi_avg_fn "
    "torch.utils.data.random_split".split()
)
# Functions that hand on what their first argument gives.
ITERATION: Final = frozenset(
    "enumerate zip tqdm trange islice cycle chain iter reversed track progress prange".split()
)
CONTAINER_METHODS: Final = frozenset(
    "append extend insert items keys values pop get add discard remove clear copy sort join "
    "split strip format startswith endswith encode decode lower upper replace count index "
    "setdefault write print flush info debug warning error add_scalar log add_argument parse_args "
    "parameters named_parameters modules named_modules children buffers state_dict random randint "
    "randrange choice choices shuffle sample uniform permutation integers standard_normal seed "
    "exists mkdir read_text write_text read_bytes glob joinpath resolve group match search sub "
    "get_last_lr is_enabled get_scale total_seconds time perf_counter".split()
)
TENSOR_METHODS: Final = frozenset(
    "abs all any argmax argmin argsort backward bool chunk clamp contiguous cumsum detach dim "
    "div dot eq exp expand expand_as flatten gather ge gt index_select int isfinite isinf isnan "
    "item le log log_softmax logsumexp long lt masked_fill masked_select matmul max mean median "
    "min mm mul narrow ne new_full new_ones new_tensor new_zeros norm numel numpy permute pow "
    "prod relu repeat reshape roll round scatter select sigmoid sign sin size softmax sort "
    "split sqrt squeeze stack std stride sub sum t tanh tolist topk transpose tril triu type_as "
    "unbind unfold unsqueeze var view view_as where".split()
)
# Packages that hold neither models nor optimizers; where this is used, the standard library is too.
OTHER_LIBRARIES: Final = frozenset(
    "PIL absl cv2 einops fire hydra imageio jsonlines loguru matplotlib numpy omegaconf pandas "
    "plotly psutil requests rich scipy seaborn skimage sklearn tabulate tensorboard "
    "tensorboardX tiktoken tqdm wandb yaml".split()
)
# Attributes of parameters and modules that training depends on, whoever holds them.
WATCHED_ATTRIBUTES: Final[Mapping[str, str]] = {
    "grad": "grad.write",
    "data": "model.mutate",
    "requires_grad": "model.freeze",
    "training": "model.mutate",
}
# What of torch is recorded, where calls are: by the beginning of its dotted name.
RECORDED: Final = (
    "torch.nn.functional.",
    "torch.nn.init.",
    "torch.nn.utils.",
    "torch.distributed.",
    "torch.amp.",
    "torch.autocast",
    "torch.cuda.amp.",
    "torch.cpu.amp.",
    "torch.nn.parallel.",
    *(
        f"torch.nn.{name}"
        for name in "RNN LSTM GRU MultiheadAttention TransformerEncoderLayer "
        "TransformerDecoderLayer".split()
    ),
)
# What gives the data that it is given: functions of torch, and methods.
MOVED_BY: Final = frozenset(f"torch.{name}" for name in "stack cat concat vstack hstack".split())
MOVING_METHODS: Final = MOVERS | frozenset({"clone", "contiguous", "detach"})
