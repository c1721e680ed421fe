"""The public names that plugin authors were promised: where they live, how they are called, their defaults.

NOT_YET lists what is promised and belongs to parts that are not built; whoever builds one moves it up.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from enum import Enum
from typing import Any

import pytest

from synapse_core import enums, errors, schemas, types
from synapse_core.base_action import BaseAction, NoResult
from synapse_core.context import RuntimeContext
from synapse_core.decorators import action
from synapse_core.steps import BaseStep, BaseStepContext, StepResult

REQUIRED = inspect.Parameter.empty
NEVER = object()

# "module:name" or "module:Class.method" -> how it may be called, without self and cls. What is promised must
# work; more parameters are welcome where they have defaults. `…` stands for any further ones.
CALLS = {
    # actions
    "synapse_core:BaseAction": "(params, ctx)",
    "synapse_core:BaseAction.execute": "()",
    "synapse_core:BaseAction.run": "()",
    "synapse_core:BaseAction.dispatch": "(params, ctx)",
    "synapse_core:BaseAction.setup_steps": "(registry)",
    "synapse_core:BaseAction.create_context": "()",
    "synapse_core:BaseAction.log": "(event, data, file=None)",
    "synapse_core:BaseAction.set_progress": "(current, total, step=None, *, category=None)",
    "synapse_core:BaseAction.set_metrics": "(value, step=None, *, category=None)",
    "synapse_core:BaseAction.log_metric": "(category, key, value, **metrics)",
    "synapse_core:BaseAction.log_visualization": "(category, group, index, image, **meta)",
    "synapse_core:BaseAction.log_message": "(message, level=LogLevel.INFO, *, context=None, **values)",
    "synapse_core:BaseAction.autolog": "(framework)",
    "synapse_core:action": "(name=None, description='', params=None, result=None, category=None)",
    "synapse_core:run_plugin": "(plugin_code, action, params=None, *, mode='local', **executor_kwargs)",
    # context and environment
    "synapse_core.context:RuntimeContext": "(logger, env, job_id=None, client=None, agent_client=None, "
    "checkpoint=None, language=None)",
    "synapse_core.context:RuntimeContext.log": "(event, data, file=None, level=LogLevel.INFO)",
    "synapse_core.context:RuntimeContext.set_progress": "(current, total, step=None, *, category=None)",
    "synapse_core.context:RuntimeContext.set_metrics": "(value, step=None, *, category=None)",
    "synapse_core.context:RuntimeContext.log_message": "(message, level=LogLevel.INFO, *, context=None, "
    "language=None, step=None, **values)",
    "synapse_core.context:RuntimeContext.log_metric": "(category, key, value, **metrics)",
    "synapse_core.context:RuntimeContext.log_visualization": "(category, group, index, image, **meta)",
    "synapse_core.context:RuntimeContext.log_dev_event": "(message, data=None)",
    "synapse_core.context:RuntimeContext.end_log": "()",
    "synapse_core.context:RuntimeContext.raise_if_stopped": "()",
    "synapse_core.context:PluginEnvironment": "(data=None)",
    "synapse_core.context:PluginEnvironment.from_environ": "(prefix='', *, prefixes=None)",
    "synapse_core.context:PluginEnvironment.from_file": "(path)",
    "synapse_core.context:PluginEnvironment.merge": "(*environments)",
    "synapse_core.context:PluginEnvironment.get": "(key, default=None)",
    "synapse_core.context:PluginEnvironment.get_str": "(key, default=None)",
    "synapse_core.context:PluginEnvironment.get_int": "(key, default=None)",
    "synapse_core.context:PluginEnvironment.get_float": "(key, default=None)",
    "synapse_core.context:PluginEnvironment.get_bool": "(key, default=None)",
    "synapse_core.context:PluginEnvironment.get_list": "(key, default=None)",
    "synapse_core.context:PluginEnvironment.to_dict": "()",
    "synapse_core.context:PluginEnvironment.__contains__": "(key)",
    "synapse_core.context:PluginEnvironment.__getitem__": "(key)",
    # loggers
    "synapse_core.loggers:ConsoleLogger": "()",
    "synapse_core.loggers:NoOpLogger": "()",
    "synapse_core.loggers:BaseLogger.log": "(level, event, data, file=None, step=None)",
    "synapse_core.loggers:BaseLogger.debug": "(text)",
    "synapse_core.loggers:BaseLogger.info": "(text)",
    "synapse_core.loggers:BaseLogger.warning": "(text)",
    "synapse_core.loggers:BaseLogger.error": "(text)",
    "synapse_core.loggers:BaseLogger.critical": "(text)",
    "synapse_core.loggers:BaseLogger.set_progress": "(current, total, step=None)",
    "synapse_core.loggers:BaseLogger.set_progress_failed": "(step=None)",
    "synapse_core.loggers:BaseLogger.set_metrics": "(value, step=None)",
    "synapse_core.loggers:BaseLogger.get_progress": "(step=None)",
    "synapse_core.loggers:BaseLogger.get_metrics": "(step=None)",
    "synapse_core.loggers:BaseLogger.set_step": "(step)",
    "synapse_core.loggers:BaseLogger.get_step": "()",
    "synapse_core.loggers:BaseLogger.finish": "()",
    "synapse_core.loggers:ProgressData": "(percent, time_remaining, elapsed_time, status='running')",
    # steps
    "synapse_core.steps.base:BaseStep.execute": "(context)",
    "synapse_core.steps.base:BaseStep.can_skip": "(context)",
    "synapse_core.steps.base:BaseStep.rollback": "(context, result)",
    "synapse_core.steps.context:BaseStepContext": "(runtime_ctx, step_results, errors, current_step=None)",
    "synapse_core.steps:BaseStepContext.log": "(event, data, file=None)",
    "synapse_core.steps:BaseStepContext.set_progress": "(current, total, step=None, *, category=None)",
    "synapse_core.steps:BaseStepContext.set_metrics": "(value, step=None, *, category=None)",
    "synapse_core.steps:BaseStepContext.log_message": "(message, level=LogLevel.INFO, *, context=None)",
    "synapse_core.steps:StepRegistry": "()",
    "synapse_core.steps:StepRegistry.register": "(step)",
    "synapse_core.steps:StepRegistry.unregister": "(name)",
    "synapse_core.steps:StepRegistry.insert_after": "(name, step)",
    "synapse_core.steps:StepRegistry.insert_before": "(name, step)",
    "synapse_core.steps:StepRegistry.get_steps": "()",
    "synapse_core.steps:StepRegistry.__len__": "()",
    "synapse_core.steps:StepRegistry.__bool__": "()",
    "synapse_core.steps:Orchestrator": "(registry, context, progress_callback, before_step=None)",
    "synapse_core.steps:Orchestrator.execute": "()",
    "synapse_core.steps:LoggingStep": "(step)",
    "synapse_core.steps:TimingStep": "(step)",
    "synapse_core.steps:ValidationStep": "(validator, name='validate', progress_weight=0.05)",
    # executors
    "synapse_core.executors:LocalExecutor": "(env=None, job_id=None, language=None)",
    "synapse_core.executors:LocalExecutor.execute": "(action, params)",
    "synapse_core.executors.ray:RayActorExecutor": "(env=None, job_id=None, language=None, *, "
    "ray_address=…, working_dir=None, num_cpus=None, num_gpus=None, include_sdk=False)",
    "synapse_core.executors.ray:RayActorExecutor.execute": "(action, params)",
    "synapse_core.executors.ray:RayActorExecutor.shutdown": "()",
    "synapse_core.executors.ray:RayJobExecutor": "(dashboard_url=…, working_dir=None)",
    "synapse_core.executors.ray:RayJobExecutor.submit": "(action, params)",
    "synapse_core.executors.ray:RayJobExecutor.get_status": "(job_id)",
    "synapse_core.executors.ray:RayJobExecutor.get_logs": "(job_id)",
    "synapse_core.executors.ray:RayJobExecutor.wait": "(job_id, timeout_seconds=300)",
    "synapse_core.executors.ray:RayJobsApiExecutor": "(dashboard_url=…, working_dir=None, *, env=None, "
    "runtime_env=None, requirements_file=None, package_manager=…, package_manager_options=None, "
    "wheels_dir=…, num_cpus=None, num_gpus=None, memory=None, include_sdk=False, language=None)",
    "synapse_core.executors.ray:RayJobsApiExecutor.submit": "(action, params, *, job_id=None)",
    "synapse_core.executors.ray:RayJobsApiExecutor.get_status": "(job_id)",
    "synapse_core.executors.ray:RayJobsApiExecutor.get_logs": "(job_id)",
    "synapse_core.executors.ray:RayJobsApiExecutor.get_result": "(job_id, timeout=…)",
    "synapse_core.executors.ray:RayJobsApiExecutor.stream_logs": "(job_id)",
    "synapse_core.executors.ray:RayJobsApiExecutor.stream_logs_async": "(job_id)",
    "synapse_core.executors.ray:RayJobsApiExecutor.wait": "(job_id, timeout_seconds=300)",
    "synapse_core.executors.ray:RayJobsApiExecutor.stop": "(job_id)",
    "synapse_core.executors.ray:RayJobsApiExecutor.delete": "(job_id)",
    # pipelines
    "synapse_core.pipelines:ActionPipeline": "(actions, *, validate_schemas=True, strict=False)",
    "synapse_core.pipelines:ActionPipeline.execute": "(params, ctx, *, progress_callback=None)",
    "synapse_core.pipelines:ActionPipeline.validate_initial_params": "(params)",
    "synapse_core.pipelines:ActionPipeline.submit": "(params, executor, *, name=None, resume_from=None)",
    "synapse_core.pipelines:ActionPipeline.wait": "(run_id, executor, *, timeout_seconds=3600.0, "
    "poll_interval=5.0)",
    "synapse_core.pipelines:PipelineProgress.to_dict": "()",
    "synapse_core.pipelines:PipelineProgress.from_dict": "(data)",
    "synapse_core.pipelines:PipelineContext.get_action_dir": "(name)",
    "synapse_core.pipelines:PipelineContext.cleanup": "()",
    "synapse_core.pipelines.display:display_progress": "(iterator, *, show_actions=True, refresh_rate=4.0)",
    "synapse_core.pipelines.display:display_progress_async": "(iterator, *, show_actions=True, "
    "refresh_rate=4.0)",
    "synapse_core.pipelines.display:print_progress_summary": "(progress)",
    "synapse_core.executors.ray:RayPipelineExecutor": "(env=None, *, ray_address='auto', working_dir=None, "
    "pipeline_service_url=…, num_cpus=None, num_gpus=None, include_sdk=False)",
    "synapse_core.executors.ray:RayPipelineExecutor.get_status": "(run_id)",
    "synapse_core.executors.ray:RayPipelineExecutor.get_progress": "(run_id)",
    "synapse_core.executors.ray:RayPipelineExecutor.get_result": "(run_id)",
    "synapse_core.executors.ray:RayPipelineExecutor.wait": "(run_id)",
    "synapse_core.executors.ray:RayPipelineExecutor.stream_progress": "(run_id)",
    "synapse_core.executors.ray:RayPipelineExecutor.stream_progress_async": "(run_id)",
    "synapse_core.executors.ray:RayPipelineExecutor.cancel": "(run_id)",
    "synapse_core.executors.ray:RayPipelineExecutor.close": "()",
    # discovery
    "synapse_core.discovery:PluginDiscovery.from_path": "(path)",
    "synapse_core.discovery:PluginDiscovery.from_module": "(module, *, name=None, "
    "category=PluginCategory.CUSTOM)",
    "synapse_core.discovery:PluginDiscovery.list_actions": "()",
    "synapse_core.discovery:PluginDiscovery.has_action": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_config": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_method": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_class": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_entrypoint": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_params_model": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_result_model": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_input_type": "(action)",
    "synapse_core.discovery:PluginDiscovery.get_action_output_type": "(action)",
    # datasets
    "synapse_core.datasets:get_converter": "(source, target, **kwargs)",
    "synapse_core.datasets:FromDMConverter": "(root_dir=None, is_categorized=False, "
    "is_single_conversion=False, dm_version='v2')",
    "synapse_core.datasets:FromDMConverter.convert": "()",
    "synapse_core.datasets:FromDMConverter.save_to_folder": "(output_dir)",
    "synapse_core.datasets:FromDMConverter.get_config_path": "(output_dir)",
    "synapse_core.datasets:FromDMConverter.convert_single_file": "(data, original_file, **kwargs)",
    "synapse_core.datasets:ToDMConverter": "(root_dir=None, is_categorized=False, "
    "is_single_conversion=False, dm_version='v2')",
    "synapse_core.datasets:ToDMConverter.convert": "()",
    "synapse_core.datasets:ToDMConverter.save_to_folder": "(output_dir)",
    "synapse_core.datasets:ToDMConverter.get_config_path": "(output_dir)",
    "synapse_core.datasets:ToDMConverter.convert_single_file": "(data, original_file, **kwargs)",
    "synapse_core.actions:DatasetParams": "(*, operation=…, dataset=None, splits=None, path=None, "
    "source_format='dm_v2', target_format='yolo', dm_version='v2', output_dir=None, is_categorized=False)",
    "synapse_core.actions:DatasetAction": "(params, ctx)",
    "synapse_core.actions.dataset:DatasetAction.download": "()",
    "synapse_core.actions.dataset:DatasetAction.convert": "()",
    "synapse_core.actions.train:BaseTrainAction": "(params, ctx)",
    "synapse_core.actions.train:BaseTrainAction.get_dataset": "()",
    "synapse_core.actions.train:BaseTrainAction.get_checkpoint": "()",
    "synapse_core.actions.train:BaseTrainAction.create_model": "(path, **kwargs)",
    "synapse_core.actions.train:BaseTrainAction.get_model": "(model_id)",
    "synapse_core.actions.train:BaseTrainAction.report_metrics": "(metrics, *, epoch=None, category='train')",
    "synapse_core.actions.train:BaseTrainAction.autolog": "(framework)",
    "synapse_core.actions.inference:BaseInferenceAction": "(params, ctx)",
    "synapse_core.actions.inference:BaseInferenceAction.get_model": "(model_id)",
    "synapse_core.actions.inference:BaseInferenceAction.download_model": "(model_id, output_dir=None)",
    "synapse_core.actions.inference:BaseInferenceAction.load_model": "(model_id)",
    "synapse_core.actions.inference:BaseInferenceAction.infer": "(model, inputs)",
    "synapse_core.actions.inference:BaseDeploymentAction": "(params, ctx)",
    "synapse_core.actions.inference:BaseDeploymentAction.ray_init": "()",
    "synapse_core.actions.inference:BaseDeploymentAction.deploy": (
        "(deployment_class=None, route_prefix=None)"
    ),
    "synapse_core.actions.inference:BaseDeploymentAction.register_serve_application": (
        "(app_name=None, app_id=None)"
    ),
    "synapse_core.actions.inference:BaseServeDeployment": "(backend_url=None)",
    "synapse_core.actions.export:BaseExportAction": "(params, ctx)",
    "synapse_core.actions.export:BaseExportAction.get_filtered_results": "(filters)",
    "synapse_core.actions.export:BaseExportAction.get_storage": "(storage_id)",
    "synapse_core.actions.export:BaseExportAction.get_project": "(project_id)",
    "synapse_core.actions.export:BaseExportAction.get_project_configuration": "(project_id)",
    "synapse_core.actions.export:BaseExportAction.setup_steps": "(registry)",
    "synapse_core.actions.export:BaseExportAction.create_context": "()",
    "synapse_core.actions.export:DefaultExportAction": "(params, ctx)",
    "synapse_core.actions.upload:BaseUploadAction": "(params, ctx)",
    "synapse_core.actions.upload:BaseUploadAction.get_allowed_extensions": "()",
    "synapse_core.actions.upload:BaseUploadAction.setup_steps": "(registry)",
    "synapse_core.actions.upload:BaseUploadAction.create_context": "()",
    "synapse_core.actions:AddTaskDataAction": "(params, ctx)",
    "synapse_core.actions.add_task_data:AddTaskDataAction.convert_data_from_file": "(primary_file_url, "
    "primary_file_name, data_file_url, data_file_name, task_data=None)",
    "synapse_core.actions.add_task_data:AddTaskDataAction.convert_data_from_inference": "(inference_data, "
    "task_data=None)",
    "synapse_core.errors:ArchiveError": "(message, details=None)",
    # errors
    "synapse_core.errors:PluginError": "(message, details=None)",
    "synapse_core.errors:ValidationError": "(message, details=None)",
    "synapse_core.errors:ExecutionError": "(message, details=None)",
}

# Names with no call of their own to check: they only have to be there.
NAMES = [
    "synapse_core.context:PluginEnvironment",
    "synapse_core.context:RuntimeContext",
    "synapse_core.loggers:BaseLogger",
    "synapse_core.steps:BaseStep",
    "synapse_core.steps:BaseStepContext",
    "synapse_core.steps:StepResult",
    "synapse_core.steps.orchestrator:Orchestrator",
    "synapse_core.steps.registry:StepRegistry",
    "synapse_core.steps.base:StepResult",
    "synapse_core.discovery:PluginDiscovery",
    "synapse_core.actions:ActionRegistry",
    "synapse_core.actions:ActionSpec",
    "synapse_core.actions:ActionType",
    "synapse_core.actions:AddTaskDataMethod",
    "synapse_core.actions:AddTaskDataParams",
    "synapse_core.actions.add_task_data:AddTaskDataMethod",
    "synapse_core.actions.add_task_data:AddTaskDataProgressCategories",
    "synapse_core.actions.export:ExportContext",
    "synapse_core.actions.export:ExportParams",
    "synapse_core.actions.export.action:ExportProgressCategories",
    "synapse_core.actions.upload:UploadContext",
    "synapse_core.actions.upload:UploadParams",
    "synapse_core.actions:DatasetOperation",
    "synapse_core.actions.dataset:DatasetOperation",
    "synapse_core.actions.train:BaseTrainParams",
    "synapse_core.actions.train:TrainContext",
    "synapse_core.actions.train.action:TrainProgressCategories",
    "synapse_core.actions.inference.action:InferenceProgressCategories",
    "synapse_core.actions.inference.deployment:DeploymentProgressCategories",
    "synapse_core.actions.inference:DeploymentContext",
    "synapse_core.actions.inference:BaseServeDeployment.get_model",
    "synapse_core.actions.inference:BaseServeDeployment.infer",
    "synapse_core.actions.dataset:DatasetParams",
    "synapse_core.errors:ActionNotFoundError",
    "synapse_core.executors.ray:RayActorExecutor",
    "synapse_core.executors.ray:RayJobExecutor",
    "synapse_core.executors.ray:RayJobsApiExecutor",
    "synapse_core.pipelines:PipelineProgress",
    "synapse_core.pipelines:ActionProgress",
    "synapse_core.pipelines:Checkpoint",
    "synapse_core.pipelines:PipelineContext",
]

# Promised, and part of what is not built: by module. "name(parameter)" is a parameter that is not taken.
_LATER = {
    # specialised actions
    "executors.ray": "RayActorExecutor(runtime_env)",
    # the backend: its loggers, trials and states, and the errors of publishing
    "loggers": "TqdmLogger BackendLogger JobLogger BaseLogger.get_progress_record BaseLogger.set_step(order)",
    "context": "RuntimeContext.log_trials",
    "enums": "JobStatus ContainerKind AnnotationTool",
    "errors": "PluginUploadError BuildError ChecksumMismatchError PluginRunError",
    # forms, and writing a config.yaml from the code
    "params": "pydantic_to_ui_schema get_action_ui_schema",
    "discovery": "PluginDiscovery.get_action_ui_schema PluginDiscovery.get_action_result_ui_schema "
    "PluginDiscovery.to_config_dict PluginDiscovery.to_yaml PluginDiscovery.check_config_sync "
    "PluginDiscovery.sync_config_file PluginDiscovery.discover_actions",
}
NOT_YET = [f"synapse_core.{module}:{name}" for module, names in _LATER.items() for name in names.split()]

ENUMS = {
    "PluginCategory": "neural_net export upload smart_tool post_annotation pre_annotation data_validation "
    "custom",
    "RunMethod": "local task job serve restapi",
    "ExecutionMode": "local task job",
    "PackageManager": "pip uv",
    "MetricsCategory": "train validation test",
    "DataType": "image text video pcd audio data",
    "AnnotationCategory": "image video audio text pcd prompt time_series",
    "AnnotationType": "bbox polygon point line mask label",
    "SmartToolType": "interactive automatic semi_automatic",
    "RunStatus": "pending running completed failed cancelled",
    "ActionStatus": "pending running completed failed skipped",
    "LogLevel": "debug info success warning danger error critical",
}

# class -> name, format, parent
DATA_TYPES = {
    "DataType": ("data", None, "object"),
    "Dataset": ("dataset", None, "DataType"),
    "DMDataset": ("dm_dataset", "dm", "Dataset"),
    "DMv1Dataset": ("dm_v1_dataset", "dm_v1", "DMDataset"),
    "DMv2Dataset": ("dm_v2_dataset", "dm_v2", "DMDataset"),
    "YOLODataset": ("yolo_dataset", "yolo", "Dataset"),
    "COCODataset": ("coco_dataset", "coco", "Dataset"),
    "PascalVOCDataset": ("pascal_voc_dataset", "pascal", "Dataset"),
    "Model": ("model", None, "DataType"),
    "ModelWeights": ("model_weights", "weights", "Model"),
    "ONNXModel": ("onnx_model", "onnx", "Model"),
    "TensorRTModel": ("tensorrt_model", "tensorrt", "Model"),
    "Result": ("result", None, "DataType"),
    "TestResults": ("test_results", "metrics", "Result"),
    "InferenceResults": ("inference_results", "predictions", "Result"),
}

# model -> field -> default
RESULT_MODELS: dict[str, dict[str, Any]] = {
    "WeightsResult": {"weights_path": REQUIRED, "checkpoint_paths": [], "format": "pt"},
    "MetricsResult": {"metrics": REQUIRED, "category": "train"},
    "TrainResult": {
        "weights_path": REQUIRED,
        "final_epoch": REQUIRED,
        "best_epoch": None,
        "train_metrics": {},
        "val_metrics": {},
    },
    "InferenceResult": {"predictions": [], "processed_count": 0, "output_path": None},
    "ExportResult": {
        "output_path": REQUIRED,
        "exported_count": REQUIRED,
        "format": REQUIRED,
        "file_size_bytes": None,
    },
    "UploadResult": {"uploaded_count": REQUIRED, "remote_path": None, "status": "completed"},
}

ACTION_ATTRIBUTES = {
    "action_name": None,
    "category": None,
    "input_type": None,
    "output_type": None,
    "result_model": NoResult,
}

METHOD_BY_ACTION = {
    **dict.fromkeys(("upload", "export", "download", "convert", "train", "test"), "job"),
    **dict.fromkeys(("deployment", "to_task"), "job"),
    "inference": "serve",
    "auto_label": "task",
    "anything_else": "task",
}


def find(path: str) -> Any:
    """Return what "module:name.member" stands for. Raises ModuleNotFoundError or AttributeError."""
    module, _, names = path.partition(":")
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


def promised(call: str) -> dict[str, inspect.Parameter]:
    """Return the parameters that a line of CALLS names; a default of `…` may be anything."""
    words = {"LogLevel": enums.LogLevel, "PluginCategory": enums.PluginCategory, "NEVER": NEVER}
    function = eval(f"lambda {call[1:-1].replace('…', 'NEVER')}: None", words)
    return dict(inspect.signature(function).parameters)


def offered(path: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of what is there, without self (cls is bound already)."""
    parameters = dict(inspect.signature(find(path)).parameters)
    parameters.pop("self", None)
    return parameters


def differences(wanted: dict[str, inspect.Parameter], found: dict[str, inspect.Parameter]) -> list[str]:
    """Return why a call that `wanted` allows would not work, an empty list where every one does."""
    kinds = inspect.Parameter
    in_order = [name for name, one in found.items() if one.kind is kinds.POSITIONAL_OR_KEYWORD]
    told = []
    for index, (name, one) in enumerate(wanted.items()):
        there = found.get(name)
        if one.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
            if one.kind not in {each.kind for each in found.values()}:
                told.append(f"takes no {one}")
        elif there is None:
            told.append(f"has no parameter {name!r}")
        elif one.kind is kinds.POSITIONAL_OR_KEYWORD and in_order[index : index + 1] != [name]:
            told.append(f"{name!r} is not argument {index + 1}")
        elif one.default is not NEVER and there.default not in (one.default, *_optional(one, there)):
            told.append(f"{name!r} defaults to {there.default!r}, not to {one.default!r}")
    told += [
        f"{name!r} is required and was not promised"
        for name, one in found.items()
        if name not in wanted
        and one.default is REQUIRED
        and one.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]
    return told


def _optional(wanted: inspect.Parameter, there: inspect.Parameter) -> list[Any]:
    """What was promised to be required may have a default."""
    return [there.default] if wanted.default is REQUIRED else []


@pytest.mark.parametrize("path", CALLS)
def test_it_can_be_called_as_promised(path: str):
    assert differences(promised(CALLS[path]), offered(path)) == []


@pytest.mark.parametrize("path", NAMES)
def test_it_is_where_it_was_promised(path: str):
    assert find(path) is not None


@pytest.mark.parametrize("path", NOT_YET)
def test_what_is_not_built_is_not_there(path: str):
    """Fails when one of them appears: move it to CALLS or NAMES then."""
    callable_path, _, parameter = path.rstrip(")").partition("(")
    try:
        found = find(callable_path)
    except (ModuleNotFoundError, AttributeError):
        assert not parameter, f"{callable_path} is gone"
        return
    assert parameter, f"{path} is there"
    assert parameter not in inspect.signature(found).parameters


def test_a_deprecated_name_is_there_and_warns():
    with pytest.warns(DeprecationWarning, match="UploadProgressCategories"):
        categories = find("synapse_core.actions.upload.action:UploadProgressCategories")

    assert categories.INITIALIZE == "initialize"


def test_no_name_is_promised_twice():
    assert not set(NOT_YET) & {*CALLS, *NAMES}
    assert len(NOT_YET) == len(set(NOT_YET))


@pytest.mark.parametrize("name", ENUMS)
def test_a_closed_set_of_words_has_the_promised_ones(name: str):
    kind: type[Enum] = getattr(enums, name)

    assert [member.value for member in kind] == ENUMS[name].split()
    assert [member.name for member in kind] == ENUMS[name].upper().split()


@pytest.mark.parametrize("name", DATA_TYPES)
def test_a_data_type_has_its_name_format_and_parent(name: str):
    kind = getattr(types, name)

    assert (kind.name, kind.format, kind.__bases__[0].__name__) == DATA_TYPES[name]
    assert kind.description


@pytest.mark.parametrize("name", RESULT_MODELS)
def test_a_result_model_has_its_fields(name: str):
    fields = getattr(schemas, name).model_fields

    defaults = {
        field: REQUIRED if info.is_required() else info.get_default(call_default_factory=True)
        for field, info in fields.items()
    }
    assert defaults == RESULT_MODELS[name]


@pytest.mark.parametrize("name", METHOD_BY_ACTION)
def test_an_action_runs_by_the_usual_method_of_its_name(name: str):
    assert enums.default_method(name) == METHOD_BY_ACTION[name]


def test_an_action_class_declares_itself():
    assert {name: getattr(BaseAction, name) for name in ACTION_ATTRIBUTES} == ACTION_ATTRIBUTES
    assert {"params_model", *ACTION_ATTRIBUTES} <= set(BaseAction.__annotations__)


def test_an_action_reaches_its_context_and_logger():
    assert isinstance(BaseAction.logger, property)


def test_a_step_result_has_its_defaults():
    result = StepResult()
    fields = [field.name for field in dataclasses.fields(StepResult)]

    assert fields == ["success", "data", "error", "rollback_data", "skipped", "timestamp"]
    assert (result.success, result.data, result.error) == (True, {}, None)
    assert (result.rollback_data, result.skipped) == ({}, False)


def test_a_step_must_say_its_name_its_weight_and_its_work():
    assert BaseStep.__abstractmethods__ == {"name", "progress_weight", "execute"}
    assert isinstance(BaseStep.name, property)
    assert isinstance(BaseStep.progress_weight, property)


def test_a_step_context_has_its_fields_in_order():
    names = [field.name for field in dataclasses.fields(BaseStepContext)]

    assert names == ["runtime_ctx", "step_results", "errors", "current_step"]


def test_a_step_registry_is_generic_and_knows_its_weight():
    registry = find("synapse_core.steps:StepRegistry")

    assert registry[BaseStepContext]().total_weight == 0


def test_a_runtime_context_has_its_fields_in_order():
    names = [field.name for field in dataclasses.fields(RuntimeContext)]

    wanted = ["logger", "env", "job_id", "client", "agent_client", "checkpoint", "language"]
    assert names[: len(wanted)] == wanted


def test_a_decorated_function_bears_its_marks():
    with pytest.warns(DeprecationWarning, match="BaseAction"):

        @action(description="Adds nothing.")
        def nothing(params: Any, context: Any) -> None:
            return None

    marks = sorted(name for name in vars(nothing) if re.match(r"_(is_)?action", name))
    promised_marks = ["category", "description", "name", "params", "result"]
    assert {"_is_action", *(f"_action_{name}" for name in promised_marks)} <= set(marks)
    assert (nothing._is_action, nothing._action_name) == (True, "nothing")


def test_the_errors_of_plugins_have_one_root():
    for name in ("ValidationError", "ActionNotFoundError", "ExecutionError"):
        assert issubclass(getattr(errors, name), errors.PluginError)


def test_a_missing_action_tells_which_there_are():
    error = errors.ActionNotFoundError("hello", "gret", ["greet"])

    assert error.details["available"] == ["greet"]


def test_a_failed_step_is_a_runtime_error():
    assert issubclass(errors.StepFailed, RuntimeError)


@pytest.mark.parametrize(
    ("offer", "told"),
    [
        (lambda a, b=1, *, c=2: None, []),
        (lambda a=0, b=1, d=5, *, c=2: None, []),
        (lambda a, *, b=1, c=2: None, ["'b' is not argument 2"]),
        (lambda a, b=2, *, c=2: None, ["'b' defaults to 2, not to 1"]),
        (lambda a, b=1: None, ["has no parameter 'c'"]),
        (lambda a, b=1, *, c=2, d: None, ["'d' is required and was not promised"]),
    ],
)
def test_the_comparison_tells_a_broken_promise(offer: Any, told: list[str]):
    found = dict(inspect.signature(offer).parameters)

    assert differences(promised("(a, b=1, *, c=2)"), found) == told
