"""Falcon, under gunicorn: the model is unpickled at each request, as the tutorial of 2020 does."""

import falcon

from doors import answers


class Ping:
    """Whether it is up."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Says so."""


class Invocations:
    """The answers."""

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answers the rows of one request."""
        records = request.get_media()["dataframe_records"]
        response.media = {"predictions": answers.answer(answers.load(), records)}


app = falcon.App()
app.add_route("/ping", Ping())
app.add_route("/invocations", Invocations())
