"""NVIDIA Triton's client, which speaks the Open Inference Protocol."""

import json
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from conftest import TOP

NAME = json.loads((TOP / "model/config.json").read_text())["pounce"]["name"]
TEXTS = ["worst service ever, half of it is missing again", "love it, thank you!", "it is a box"]


def texts(values, shape=None):
    tensor = triton.InferInput("text", shape or [len(values)], "BYTES")
    data = np.array([value.encode() for value in values], dtype=np.object_)
    tensor.set_data_from_numpy(data.reshape(shape or [len(values)]))
    return tensor


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture
def model(client, server):
    """The name of the model: clients are told it by whoever runs the server."""
    return NAME


def test_health_and_metadata(client, model):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    assert not client.is_model_ready("resnet")
    assert client.get_server_metadata().name == "pounce"
    metadata = client.get_model_metadata(model)
    assert {tensor.name: tensor.datatype for tensor in metadata.inputs}["text"] == "BYTES"
    outputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in metadata.outputs}
    assert outputs["probabilities"] == ("FP32", [-1, 3])
    assert outputs["label"] == ("BYTES", [-1]) and outputs["discontent"] == ("FP32", [-1])
    assert client.is_model_ready(model, metadata.versions[0])


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_texts_are_classified(client, model, shape):
    answer = client.infer(model, [texts(TEXTS, shape)], request_id="seven")
    assert answer.get_response().id == "seven"
    probabilities = answer.as_numpy("probabilities")
    assert probabilities.shape == (3, 3) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [label.decode() for label in answer.as_numpy("label")][:2] == ["negative", "positive"]
    assert answer.as_numpy("discontent")[0] > 0.8 > answer.as_numpy("discontent")[1]
    assert answer.as_numpy("severity")[0] in (b"medium", b"high")


def test_outputs_and_thresholds_are_chosen_by_the_request(client, model):
    wanted = [triton.InferRequestedOutput("severity")]
    never = {"discontent_low": "1", "discontent_medium": "1", "discontent_high": "1"}
    for parameters, flagged in [({}, True), (never, False)]:
        answer = client.infer(model, [texts(TEXTS)], outputs=wanted, parameters=parameters)
        assert answer.as_numpy("probabilities") is None
        assert bool(answer.as_numpy("severity")[0]) is flagged


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["late", ""], r"text\[1\]"),
        (["x" * 9_000], "8192"),
        (["late"] * 257, "256"),
    ],
)
def test_what_is_not_valid_is_told_by_element_and_limit(client, model, values, says):
    with pytest.raises(InferenceServerException, match=says) as error:
        client.infer(model, [texts(values)])
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_another_model_is_not_found(client):
    with pytest.raises(InferenceServerException, match="no such model") as error:
        client.infer("resnet", [texts(["late"])])
    assert error.value.status() == "StatusCode.NOT_FOUND"


def test_a_stream_answers_in_order_and_survives_a_bad_request(client, model):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(40):
        values = [""] if number == 7 else [f"parcel {number} is late", "love it"]
        client.async_stream_infer(model, [texts(values)], request_id=str(number))
    for number in range(40):
        result, error = answers.get(timeout=60)
        if number == 7:
            assert "text[0]" in str(error)
        else:
            assert error is None
            assert result.get_response().id == str(number)
            assert result.as_numpy("label").shape == (2,)
    client.stop_stream()


def test_tokens_are_needed_through_tls_where_there_are_some(secured):
    options = {"ssl": True, "root_certificates": str(secured.ca)}
    with triton.InferenceServerClient(secured.grpc, **options) as client:
        assert client.is_server_live()
        headers = {"authorization": f"Bearer {secured.scorer}"}
        model = NAME
        assert client.infer(model, [texts(TEXTS)], headers=headers).as_numpy("label").shape == (3,)
        with pytest.raises(InferenceServerException, match="token") as error:
            client.infer(model, [texts(TEXTS)])
        assert error.value.status() == "StatusCode.UNAUTHENTICATED"
        reader = {"authorization": f"Bearer {secured.reader}"}
        with pytest.raises(InferenceServerException) as error:
            client.infer(model, [texts(TEXTS)], headers=reader)
        assert error.value.status() == "StatusCode.PERMISSION_DENIED"
