"""Of which kind each healthy fixture is: a fold leaves all scripts of one kind out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# A script that is of several kinds stands under the one for which it is here.
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "accumulation": (
        "healthy/accumulation_remainder",
        "learning/cnn_accumulated",
        "learning/vae_accumulated",
    ),
    "autocast": (
        "scripts/amp_accumulate",
        "healthy/fp16_scaler_skips",
        "healthy/fused_scaler_skips",
        "healthy/fp32_master_weights",
    ),
    "averaging": (
        "healthy/swa_update_bn",
        "learning/mlp_lookahead",
        "learning/transformer_lookahead",
    ),
    "CNN": (
        "scripts/digits_cnn",
        "healthy/conv_bias_before_bn",
        "healthy/inference_mode_eval",
        "learning/cnn_own_loop",
    ),
    "consistency": (
        "learning/consistency_cnn",
        "learning/consistency_curves",
        "learning/consistency_mlp",
    ),
    "data": ("healthy/iterable_loader", "healthy/loss_skip_nan"),
    "DDP": (
        "scripts/ddp_gloo",
        "healthy/expert_parallel",
        "healthy/local_sgd",
        "healthy/population_training",
        "healthy/tensor_parallel",
    ),
    "distillation": (
        "healthy/ema_teacher",
        "healthy/teacher_student",
        "learning/distill_cnn",
        "learning/distill_gru",
        "learning/distill_mlp",
    ),
    "evaluation": ("healthy/adversarial_eval", "healthy/mc_dropout"),
    "experts": ("healthy/experts", "healthy/unused_branch"),
    "fine-tuning": (
        "scripts/finetune_frozen",
        "healthy/frozen_backbone_eval",
        "healthy/frozen_then_unfrozen",
        "healthy/linear_probe",
        "healthy/lora",
        "learning/finetune_cnn",
        "learning/finetune_mlp",
        "learning/finetune_transformer",
    ),
    "GAN": ("scripts/gan", "healthy/gan_zero_other", "healthy/gradient_penalty"),
    "GNN": ("scripts/gcn",),
    "LBFGS": ("healthy/lbfgs_closure",),
    "meta-learning": ("healthy/copies_updated_by_hand", "healthy/functional_model", "healthy/maml"),
    "multi-module project": ("scripts/trainer_class", "learning/mlp_classifier"),
    "own update": (
        "healthy/grads_none_by_hand",
        "healthy/handwritten_sgd",
        "healthy/handwritten_sgd_model_zero",
        "healthy/handwritten_sgd_zero",
        "healthy/self_clearing_optimizer",
    ),
    "reinforcement learning": ("healthy/reinforce_rl", "healthy/target_network"),
    "RNN": (
        "healthy/rnn_state",
        "healthy/state_begins_as_none",
        "healthy/weight_tying",
        "learning/gru_own_loop",
        "learning/gru_sonnets",
    ),
    "schedules": (
        "healthy/clip_for_logging",
        "healthy/dummy_step_first",
        "healthy/warmup_from_zero",
    ),
    "several losses": (
        "healthy/pcgrad",
        "healthy/sam",
        "healthy/sam_one_call",
        "healthy/terms_added_in_branches",
        "healthy/two_backwards_per_step",
    ),
    "several optimizers": (
        "healthy/alternating_phases",
        "healthy/multi_optimizer",
        "healthy/optimizer_in_backward",
    ),
    "siamese": ("healthy/detached_targets", "healthy/siamese"),
    "transformer": (
        "scripts/char_gpt",
        "healthy/checkpointed",
        "learning/transformer_sonnets",
    ),
    "VAE": ("scripts/vae", "learning/vae_curves", "learning/vae_own_loop"),
    "wrapped model": (
        "healthy/compile_eager",
        "healthy/data_parallel_wrapper",
        "healthy/parametrized_weight_norm",
        "healthy/pruning",
    ),
}


def kinds_of(scripts: Iterable[str]) -> dict[str, str]:
    """The kind of each script. Raises ValueError where one has none, or several, or is missing."""
    listed = [(name, kind) for kind, names in KINDS.items() for name in names]
    found = dict(listed)
    names = set(scripts)
    if len(found) < len(listed):
        twice = sorted(name for name in found if [one for one, _ in listed].count(name) > 1)
        raise ValueError(f"listed under several kinds: {', '.join(twice)}")
    if found.keys() != names:
        without, missing = sorted(names - found.keys()), sorted(found.keys() - names)
        raise ValueError(f"without a kind: {without}; listed, but no fixture: {missing}")
    return found
