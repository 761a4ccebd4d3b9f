"""Settings of TRL and PEFT that a recipe may pass on as `args`, and why it may not pass on the others.

Every setting that the libraries have is here: passed on with its type, or refused with the recipe's own field or a
reason. The lists are kept rather than read from what is installed: a recipe can be checked where neither is, and a
release that adds a setting (one that uploads weights, say) brings it into no recipe until somebody has put it
here. tests/recipes/test_arguments.py compares them with the installed libraries, name by name.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from recipes.section import meant

Optimizer = Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adamw_bnb_8bit", "paged_adamw_8bit"]
ON_GPU = ("adamw_bnb_8bit", "paged_adamw_8bit")
"""Optimizers that bitsandbytes has for no CPU."""

Settings = dict[str, Any]
"""The type of each setting that `args` passes on."""

OF_EVERY_KIND: Settings = {
    "adam_beta1": float,
    "adam_beta2": float,
    "adam_epsilon": float,
    "optim": Optimizer,
}
LANGUAGE_MODELLING: Settings = {**OF_EVERY_KIND, "label_smoothing_factor": float, "router_aux_loss_coef": float}

LORA: Settings = {
    "alpha_pattern": dict[str, float],
    "exclude_modules": list[str] | str,
    "init_lora_weights": Literal[True, "gaussian", "orthogonal"],
    "layers_to_transform": list[int] | int,
    "modules_to_save": list[str],
    "rank_pattern": dict[str, int],
    "use_dora": bool,
    "use_rslora": bool,
}
"""Of PEFT's `LoraConfig`; those of a kind of stage stand in its class (`recipes.stages`)."""

OWN_FIELD = {
    "beta": "beta",
    "bf16": "precision",
    "center_rewards_coefficient": "center",
    "data_seed": "seed",
    "desirable_weight": "desirable_weight",
    "discopop_tau": "discopop_tau",
    "fp16": "precision",
    "gradient_accumulation_steps": "batch_rows and execution.micro_batch",
    "gradient_checkpointing": "execution.gradient_checkpointing",
    "label_smoothing": "label_smoothing",
    "loss_type": "loss",
    "learning_rate": "learning_rate",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "lr_scheduler_type": "schedule",
    "mask_truncated_completions": "learn_from_cut",
    "max_completion_length": "max_new_tokens",
    "max_grad_norm": "max_grad_norm",
    "max_length": "max_length of the mixture or the preferences",
    "max_steps": "max_steps",
    "num_generations": "generations",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_rows and execution.micro_batch",
    "r": "rank",
    "reward_weights": "rewards",
    "save_steps": "checkpoint_steps",
    "scale_rewards": "scale_rewards",
    "seed": "seed",
    "target_modules": "targets",
    "temperature": "temperature",
    "top_p": "top_p",
    "undesirable_weight": "undesirable_weight",
    "warmup_steps": "warmup_share",
    "weight_decay": "weight_decay",
}
"""Settings for which the recipe has a field of its own."""

_REASONS: dict[str, tuple[str, ...]] = {
    "it says how a machine runs a stage, which is execution's, and args name what comes out": (
        *("accelerator_config", "activation_checkpointing", "activation_checkpointing_kwargs", "activation_offloading"),
        *("auto_find_batch_size", "average_tokens_across_devices", "bf16_full_eval", "cache_implementation"),
        *("dataloader_in_order", "dataloader_multiprocessing_context", "dataloader_num_workers"),
        *("dataloader_persistent_workers", "dataloader_pin_memory", "dataloader_prefetch_factor", "dataset_num_proc"),
        *("ddp_backend", "ddp_broadcast_buffers", "ddp_bucket_cap_mb", "ddp_find_unused_parameters"),
        *("ddp_static_graph", "ddp_timeout", "debug", "deepspeed", "ds3_gather_for_generation", "fp16_full_eval"),
        *("fsdp", "fsdp_config", "full_determinism", "generation_batch_size", "gradient_checkpointing_kwargs"),
        *("liger_kernel_config", "local_rank", "parallelism_config", "skip_memory_metrics", "tf32", "torch_compile"),
        *("torch_compile_backend", "torch_compile_mode", "torch_empty_cache_steps"),
        *("transformers_continuous_batching_config", "use_cache", "use_cpu", "use_liger_kernel", "use_vllm"),
        *("use_transformers_continuous_batching", "use_transformers_paged", "vllm_enable_sleep_mode"),
        *("vllm_gpu_memory_utilization", "vllm_group_port", "vllm_max_model_length", "vllm_mode", "vllm_model_impl"),
        *("vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout"),
        *("vllm_structured_outputs_regex", "vllm_tensor_parallel_size"),
    ),
    "rows come tokenised, masked and in their order, and reach the loss as they are": (
        *("assistant_only_loss", "chat_template_kwargs", "chat_template_path", "completion_only_loss"),
        *("dataloader_drop_last", "dataset_kwargs", "dataset_text_field", "eos_token", "eval_packing"),
        *("is_encoder_decoder", "label_names", "length_column_name", "max_tool_calling_iterations", "pad_token"),
        *("pad_to_multiple_of", "packing", "packing_strategy", "padding_free", "padding_value"),
        *("remove_unused_columns", "shuffle_dataset", "train_sampling_strategy", "truncation_mode"),
    ),
    "checkpoints are saved, verified and resumed by Temper, so that a resumed run is the run": (
        *("enable_jit_checkpoint", "ignore_data_skip", "load_best_model_at_end", "output_dir"),
        *("restore_callback_states_from_checkpoint", "resume_from_checkpoint", "save_on_each_node", "save_only_model"),
        *("save_strategy", "save_total_limit"),
    ),
    "what a stage logs is in its record and in MLflow": (
        *("disable_tqdm", "include_num_input_tokens_seen", "log_completions", "log_level", "log_level_replica"),
        *("log_multimodal", "log_on_each_node", "log_unique_prompts", "logging_first_step", "logging_nan_inf_filter"),
        *("logging_steps", "logging_strategy", "num_completions_to_print", "project", "report_to", "run_name"),
    ),
    "checkpoints are evaluated by nodes of their own, the reports": (
        *("batch_eval_metrics", "do_eval", "do_predict", "do_train", "eval_accumulation_steps", "eval_delay"),
        *("eval_do_concat_batches", "eval_on_start", "eval_steps", "eval_strategy", "eval_use_gather_object"),
        *("generate_during_eval", "greater_is_better", "include_for_metrics", "metric_for_best_model"),
        *("num_generations_eval", "per_device_eval_batch_size", "prediction_loss_only"),
    ),
    "a training process sends nothing away": (
        *("hub_always_push", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy", "hub_token"),
        *("log_completions_hub_repo", "push_to_hub", "trackio_bucket_id", "trackio_space_id"),
        *("trackio_static_space_id",),
    ),
    "the model is the start checkpoint, loaded by Temper without any code of its own": (
        *("cast_lm_head_to_fp32", "model_init_kwargs", "trust_remote_code"),
    ),
    "the reference model is the start checkpoint; one that moves is no part of what a resume restores": (
        *("precompute_ref_batch_size", "precompute_ref_log_probs", "ref_model_mixup_alpha", "ref_model_sync_steps"),
        *("sync_ref_model",),
    ),
    "with dropout the loss before the first step would not show a wrong reference": ("disable_dropout",),
    "it would weigh pairs by the model, and the loss before the first step would show no wrong reference": (
        "use_weighting",
    ),
    "every answer is learned from once, and by the policy that gave it": (
        *("delta", "epsilon", "epsilon_high", "generation_kwargs", "min_p", "num_iterations"),
        *("off_policy_mask_threshold", "repetition_penalty", "steps_per_generation", "top_k"),
        *("vllm_importance_sampling_cap", "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min"),
        *("vllm_importance_sampling_correction", "vllm_importance_sampling_mode"),
    ),
    "Temper's stages do not offer it": (
        *("entropy_coef_delta", "entropy_coef_max", "entropy_coef_min", "entropy_target", "lr_scheduler_kwargs"),
        *("loss_weights", "multi_objective_aggregation", "optim_args"),
        *(
            "optim_target_modules",
            "use_adaptive_entropy",
            "use_bias_correction_kl",
            "vespo_k_neg",
            "vespo_k_pos",
        ),
        *("sapo_temperature_neg", "sapo_temperature_pos", "vespo_lambda_neg", "vespo_lambda_pos"),
        *("alora_invocation_tokens", "arrow_config", "bias", "corda_config", "ensure_weight_tying", "eva_config"),
        *("fan_in_fan_out", "kasa_config", "layer_replication", "layers_pattern", "loftq_config", "lora_bias"),
        *("lora_ga_config", "megatron_config", "megatron_core", "monteclora_config", "qalora_group_size"),
        *("runtime_config", "target_parameters", "trainable_token_indices", "use_bdlora", "use_qalora"),
        *("velora_config",),
    ),
}

REASON = {name: reason for reason, names in _REASONS.items() for name in names}
"""Why a setting is refused, of those that no field of a recipe stands for."""


def checked(kind: str, given: dict[str, Any], passed_on: Mapping[str, Settings], own: Mapping[str, str]) -> Settings:
    """The settings of `given`, each in its type. Raises ValueError that names all that cannot be passed on.

    passed_on: what each kind passes on. own: why this kind does not pass on settings that it alone has.
    """
    accepted, problems = {}, []
    for name, value in given.items():
        if name not in passed_on[kind]:
            problems.append(f"{name}: {own.get(name) or _why_not(kind, name, passed_on)}")
            continue
        try:
            accepted[name] = TypeAdapter(passed_on[kind][name]).validate_python(value)
        except ValidationError as error:
            problems.append(f"{name}: {error.errors()[0]['msg']}, found {value!r}")
    if problems:
        raise ValueError("; ".join(problems))
    return accepted


def _why_not(kind: str, name: str, passed_on: Mapping[str, Settings]) -> str:
    if name in OWN_FIELD:
        return f"the recipe has a field for it: {OWN_FIELD[name]}"
    if name in REASON:
        return f"not passed on: {REASON[name]}"
    others = sorted(other for other, names in passed_on.items() if name in names)
    if others:
        return f"a setting of {', '.join(others)}, not of {kind}"
    known = [*passed_on[kind], *OWN_FIELD, *REASON]
    return "no such setting" + (meant(name, known) or f"; there are {sorted(passed_on[kind])}")
