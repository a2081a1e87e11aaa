"""An error may quote a request's body to its sender, but not in the log."""

import pytest

from serve import preprocess
from serve.http.errors import BadRequest, document, from_body
from serve.http.unreadable_body import unreadable
from serve.user_model import tfserving_rest
from serve.user_model.signature import Signature, Tensor, TensorModel

MODEL = TensorModel("net", {"predict": Signature((Tensor("x", "float32", (None, 2)),), (), "model.onnx")}, {})
NAMES = TensorModel("net", {"predict": Signature((Tensor("x", "string", (None,)),), (), "model.onnx")}, {})


def test_marked_text_is_sent_and_not_logged() -> None:
    error = BadRequest("It is " + from_body("a secret\nof two lines") + "; it must be 1.")
    assert str(error) == "It is a secret\nof two lines; it must be 1."
    assert error.logged == "It is (withheld); it must be 1."
    assert BadRequest("It is 2.").logged == "It is 2."


def test_a_body_cannot_close_its_own_mark() -> None:
    error = BadRequest("It is " + from_body("a\ue001SECRET\ue000") + ".")
    assert (str(error), error.logged) == ("It is aSECRET.", "It is (withheld).")


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ('{"signature_name": "SECRET", "instances": [1]}', MODEL),
        ('{"inputs": {"SECRET": 1, "x": 2}}', MODEL),
        ('{"instances": [["a", {"SECRET": 1}]]}', NAMES),
        ('{"instances": [{"b64": "SECRET!"}]}', NAMES),
        ('{"instances": SECRET}', MODEL),
    ],
)
def test_errors_about_json_do_not_log_the_bodys_contents(body: str, model: TensorModel) -> None:
    with pytest.raises(BadRequest) as caught:
        tfserving_rest.parse(body.encode(), "application/json", model)
    assert "SECRET" not in caught.value.logged


def test_the_sender_of_invalid_json_gets_the_reason() -> None:
    with pytest.raises(BadRequest, match="\"signature_name\" is 'SECRET'; it must be one of predict"):
        tfserving_rest.parse(b'{"signature_name": "SECRET", "instances": [1]}', "application/json", MODEL)


@pytest.mark.parametrize("data", [b"SECRET", b"P2\nSECRET", b"P6\n3 SECRET", b"P6\nSECRETSECRETSECRET 1 255\n"])
def test_errors_about_images_do_not_log_the_bodys_contents(data: bytes) -> None:
    with pytest.raises(preprocess.UnreadableImage) as caught:
        preprocess.decode(data)
    error = BadRequest(unreadable(data, caught.value))
    assert "SECRET" not in error.logged
    assert str(error).isprintable()


def test_the_json_of_an_error_holds_its_reason_under_both_keys() -> None:
    assert document(400, "why") == {"status": 400, "error": "why", "reason": "why"}
