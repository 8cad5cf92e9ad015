"""The composition of one serving process, without HTTP: what the Flask application is built around."""

from collections.abc import Sequence
from functools import partial

from unpickled.server import machine
from unpickled.server.access.callers import callers
from unpickled.server.access.copies import Copies
from unpickled.server.config import Config, check
from unpickled.server.consumers import Consumers
from unpickled.server.inference import budget
from unpickled.server.inference.admission import Admission
from unpickled.server.inference.budget import Budget
from unpickled.server.lifecycle.repository import Beginning, Repository
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.shadows import Shadows
from unpickled.server.observe.traces import Traces
from unpickled.server.protocols.protocol import Paths, Protocol
from unpickled.server.records import Records
from unpickled.server.serve.gate import Gate
from unpickled.server.serve.reloader import Reloader
from unpickled.server.serve.routes import Routes
from unpickled.server.serve.slots import Slots
from unpickled.server.serve.trimmer import Trimmer


class Service:
    """The models of one process with their routes, counters and observers, and the thread that reloads them.

    Attributes:
        config: All settings.
        memory: The counters that the processes of one server share.
        block: The part of it that this process writes.
        repository: The models and their deployments.
        in_flight: Counts the requests that are being answered.
        slots: The streams and long answers that are open.
        admission: Gives long requests their turns.
        budget: Bounds the memory that large requests hold.
        records: Shared memory of its observers.
        gate: Lets requests in: limits, deadlines, turns.
        consumers: Work on predictions off the path of requests: drift, truth, the payload log.
        routes: Answer each path that predicts.
        reloader: Follows the models folder, once started.
        traces: Take the spans of recorded requests; None where no collector gets them.
        callers: Those that may send requests; None where everybody may.

    Example:
        >>> service = Service(Config(models="models"))
        >>> served = service.repository.find("iris")
        >>> labels, scores = served.model.run(served.model.signature.feeds([(5.1, 3.5, 1.4, 0.2)]))
    """

    def __init__(
        self,
        config: Config,
        memory: Memory | None = None,
        beginning: Beginning | None = None,
        trials: Trials | None = None,
        copies: Copies | None = None,
        records: Records | None = None,
        protocols: Sequence[tuple[Protocol, Paths]] | None = None,
    ) -> None:
        """Load every model; one that cannot be served does not stop the others.

        Args:
            config: The settings.
            memory: Shared by the processes of one server; without it this one counts for itself. To be
                created before a fork, while a Service is built after it.
            beginning: The start of the server, for the workers of one; without it this process is the first.
            trials: The knowledge of one server about contents of files; created as memory is.
            copies: The files that say who may ask, as one server read them last; created as memory is.
            records: The shared memory of its observers; created as memory is.
            protocols: The protocols with their paths; by default those that the settings switch on.

        Raises:
            ConfigError: A setting or a file of keys is wrong, or the models folder cannot be read, or it
                lacks the default model.
            ProviderError: In strict mode, the first execution provider runs no node.
        """
        self.config = config = check(config)
        self.memory = memory or Memory(blocks=1)
        self.block = self.memory.claim()
        self.callers = callers(config.access, self.memory, self.block, copies)
        self.repository = Repository(config, beginning, trials)
        self.in_flight = InFlight(self.block)
        self.slots = Slots(config.listening.threads)
        self.admission = self._admission()
        self.budget = self._budget()
        self.gate = Gate(
            in_flight=self.in_flight,
            admission=self.admission,
            budget=self.budget,
            limit=config.limits.max_body_bytes,
            timeout=config.limits.request_timeout,
        )
        self.records = records or Records.of(config, places=1 + (self.block.number or 0))
        self.consumers = Consumers(config, self.repository, self.memory, self.block, self.records)
        # The main process of a server attends to the writer for its workers.
        self._attendant = self.consumers.attendant() if records is None else None
        watches = [Shadows(config.traffic.shadow_rows, self.block, self.consumers.add)]
        intake = self.consumers.intake
        self.routes = Routes(self.repository, self.block, self.slots, self.gate, watches, intake, protocols)
        endpoint = config.observing.otlp_endpoint
        self.traces = Traces(endpoint, self.block) if endpoint else None
        self.reloader = Reloader(self.repository, self.routes, self.block)
        self.repository.demand.answers = partial(tally.answers, self.block)
        self.repository.demand.follow = self.reloader.rebuild

    def _admission(self) -> Admission:
        listening = self.config.listening
        return Admission(
            cores=max(0.5, machine.processors() / listening.workers),
            longest=self.config.limits.max_queue_ms / 1000,
            # In each lane. Streams take half of the threads at most, and brief requests need some as well.
            most=max(1, listening.threads // 4),
            count=partial(tally.count_lost, self.block),
        )

    def _budget(self) -> Budget:
        limits, workers = self.config.limits, self.config.listening.workers
        total = limits.memory_budget or budget.default(machine.memory(), workers, limits.max_body_bytes)
        return Budget(total, lambda model: tally.count_lost(self.block, model, "shed"))

    def start(self) -> None:
        """Follow the models folder and the keys from now on, until this object is released."""
        self.reloader.start()
        if self.consumers.intake is not None:
            self.consumers.intake.start()
        if self._attendant is not None:
            self._attendant.stay(self)
        if self.callers is not None:
            self.callers.start()
        Trimmer(self.budget).start()

    def drain(self) -> None:
        """Be ready no more, and close each connection with its next answer: the server is about to end."""
        self.repository.draining = True
        self.routes.close_connections()
