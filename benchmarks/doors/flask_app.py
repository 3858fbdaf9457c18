"""Flask, under gunicorn: the model is unpickled once."""

from flask import Flask, Response, jsonify, request

from doors import answers

app = Flask(__name__)
model = answers.load()


@app.get("/ping")
def ping() -> Response:
    """Whether it is up."""
    return Response()


@app.post("/invocations")
def invocations() -> Response:
    """The answers."""
    return jsonify(predictions=answers.answer(model, request.get_json()["dataframe_records"]))
