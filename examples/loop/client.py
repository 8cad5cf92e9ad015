"""A client of the server: it asks about parcels one by one, and tells later what became of them."""

import http.client
import json
import re
from typing import Any
from urllib.parse import urlsplit


class Client:
    """One connection that stays open.

    Attributes:
        answered: Predictions that were answered.
        failures: A line for each request that had no good answer.
    """

    def __init__(self, url: str) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def predict(self, model: str, parcel: dict[str, object], key: str) -> tuple[str, str, str]:
        """The answer to a parcel, its id, and the version that gave it; three times "" after a failure.

        All requests with one key get one version.
        """
        document, headers = self._post(f"/models/{model}/predict", parcel, {"X-Request-Key": key})
        if document is None:
            return "", "", ""
        self.answered += 1
        return document["predicted_class"], headers["Prediction-Id"], headers["Model-Version"]

    def report(self, model: str, truth: dict[str, str]) -> int:
        """Report truth by the ids of predictions; how many reports were accepted."""
        reports = [{"id": prediction, "truth": answer} for prediction, answer in truth.items()]
        document, _ = self._post(f"/models/{model}/truth", reports)
        return 0 if document is None else document["accepted"]

    def logged(self) -> int:
        """The answers to clients that are in the payload log, by the server's metrics."""
        metrics = self._get("/metrics").decode()
        counts = re.findall(
            r'^unpickled_log_rows_total\{answer="sent",fate="written",.*\} (.*)$', metrics, re.M
        )
        return int(sum(map(float, counts)))

    def model(self, name: str) -> dict[str, Any]:
        """The versions of a model and their shares, as the server has them at present."""
        document: dict[str, Any] = json.loads(self._get(f"/models/{name}"))
        return document

    def _get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        return self._connection.getresponse().read()

    def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[Any, Any]:
        try:
            headers = {"Content-Type": "application/json", **(headers or {})}
            self._connection.request("POST", path, json.dumps(body), headers)
            answer = self._connection.getresponse()
            document = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            self.failures.append(f"{path}: {error!r}")
            return None, None
        if answer.status != 200:
            self.failures.append(f"{path}: {answer.status} {document}")
            return None, None
        return document, answer.headers
