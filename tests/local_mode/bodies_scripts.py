"""What the local-mode tests of script mode run beside an SDK: no pytest at the top."""

import contextlib
import io
import json
import os
import tarfile
from typing import Any

ROLE = "arn:aws:iam::111122223333:role/unused"


def page(code: str, folder: str) -> dict[str, Any]:
    """Run a snippet of docs/script-mode.md in `folder`; its `predictions`, and what it wrote."""
    os.chdir(folder)
    names: dict[str, Any] = {}
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):
            exec(compile(code, "docs/script-mode.md", "exec"), names)
    finally:
        print(log.getvalue())
    return {"predictions": names["predictions"], "log": log.getvalue()}


def generic_estimator(uri: str, folder: str, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """SDK v2's Estimator with a script: its answer for the array in image.json, or what `fit` raised."""
    from sagemaker.deserializers import JSONDeserializer
    from sagemaker.estimator import Estimator
    from sagemaker.serializers import JSONSerializer

    os.chdir(folder)
    estimator = Estimator(
        uri,
        ROLE,
        instance_count=1,
        instance_type="local",
        entry_point="train.py",
        source_dir="source",
        hyperparameters=hyperparameters,
    )
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):
            estimator.fit({"training": "file://data"})
    except RuntimeError as failure:
        return {"error": str(failure), "log": log.getvalue()}
    finally:
        print(log.getvalue())
    predictor = estimator.deploy(1, "local", serializer=JSONSerializer(), deserializer=JSONDeserializer())
    try:
        with open("image.json", encoding="utf-8") as file:
            return {"predictions": predictor.predict(json.load(file)), "log": log.getvalue(), "error": ""}
    finally:
        predictor.delete_endpoint()


def on_hosts(uri: str, folder: str, hosts: int, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """SDK v2's Estimator on class folders in data/, with so many containers: the job's log, the files of its model."""
    from sagemaker.estimator import Estimator

    os.chdir(folder)
    estimator = Estimator(
        uri, ROLE, instance_count=hosts, instance_type="local", hyperparameters=hyperparameters, base_job_name="hosts"
    )
    log = io.StringIO()
    try:
        with contextlib.redirect_stdout(log):
            estimator.fit({"training": "file://data"})
    finally:
        print(log.getvalue())
    with tarfile.open(estimator.model_data.removeprefix("file://")) as archive:
        files = sorted(member.name for member in archive.getmembers() if member.isfile())
    return {"log": log.getvalue(), "files": files}
