"""A client of the server: it asks about parcels one by one, and tells later what became of them."""

import http.client
import json
import re
from typing import Any


class Client:
    """One connection that stays open.

    Attributes:
        answered: Predictions that were answered.
        failures: A line for each request that had no good answer.
    """

    def __init__(self, port: int) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def predict(self, model: str, parcel: dict[str, object]) -> tuple[str, str, str]:
        """The answer to a parcel, its id, and the version that gave it; three times "" after a failure."""
        document, headers = self._post(f"/models/{model}/predict", parcel)
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
        self._connection.request("GET", "/metrics")
        metrics = self._connection.getresponse().read().decode()
        counts = re.findall(r'^unpickled_log_rows_total\{answer="sent",fate="written",.*\} (.*)$', metrics, re.M)
        return int(sum(map(float, counts)))

    def _post(self, path: str, body: Any) -> tuple[Any, Any]:
        try:
            self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
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
