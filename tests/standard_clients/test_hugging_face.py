"""Hugging Face's client, which speaks to text-embeddings-inference."""

import ssl

import httpx2
import pytest
from huggingface_hub import InferenceClient, set_client_factory
from huggingface_hub.errors import HfHubHTTPError


@pytest.mark.parametrize("path", ["", "/predict"])
def test_texts_are_classified(server, path):
    client = InferenceClient(model=f"http://{server.http}{path}")
    classes = client.text_classification("worst service ever, half of it is missing again")
    assert classes[0].label == "negative"
    assert [item.label for item in classes] == sorted(
        ["negative", "neutral", "positive"],
        key=lambda label: next(-item.score for item in classes if item.label == label),
    )
    assert sum(item.score for item in classes) == pytest.approx(1)
    (top,) = client.text_classification("love it, thank you!", top_k=1)
    assert top.label == "positive"


@pytest.fixture
def trusting(secured):
    """Makes the client trust the server's certificate."""
    context = ssl.create_default_context(cafile=secured.ca)
    set_client_factory(lambda: httpx2.Client(verify=context))
    yield
    set_client_factory(httpx2.Client)


@pytest.mark.usefixtures("trusting")
def test_a_token_is_needed_where_there_are_some(secured):
    url = f"https://{secured.http}/predict"
    client = InferenceClient(model=url, token=secured.scorer)
    assert client.text_classification("love it")[0].label == "positive"
    with pytest.raises(HfHubHTTPError, match="401"):
        InferenceClient(model=url, token="pounce_guess").text_classification("love it")
