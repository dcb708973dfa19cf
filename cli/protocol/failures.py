"""Why a turn failed or was stopped: every code and reason, with what its reader should do next."""

from cli.protocol.events import StopReason, TurnFailed, TurnStopped

LMX_UNREACHABLE = "lmx_unreachable"
TOO_LONG = "context_length_exceeded"

HINTS = {
    LMX_UNREACHABLE: "Start LMX with `opta serve` (or `make up`), or set lmx_url to where it runs.",
    "model_not_found": "`opta models` lists the models there are.",
    "model_load_failed": "The log of LMX says why the model did not load.",
    TOO_LONG: "Start a new session (`/new`), or choose a model with a longer context.",
    "shutting_down": "Start LMX again with `opta serve`, and send the turn again.",
    "queue_full": "Send the turn again when others are answered; LMX_QUEUE says how many may wait.",
    "reading_too_slowly": "Send the turn again: the daemon was too busy to read the answer.",
    "no_answer": "Send the turn again in other words, or choose another model (`opta models`).",
    "upstream_refused": "Change what the message names and send the turn again.",
    "upstream_error": "Send the turn again; if it fails again, the log of LMX, or of that server, says why.",
    "upstream_truncated": "See whether that server still runs (`opta models`), and send the turn again.",
    "upstream_silent": "Send the turn again, or raise first_token_seconds or idle_seconds under [limits].",
    "provider_unreachable": "`opta providers test` says which can be reached; the address is in config.toml.",
    "provider_busy": "Send the turn again in a while, or choose another server's model (`opta models`).",
    "provider_unauthorized": "Remove the provider, and add it again with the right key: `opta providers`.",
    "key_unreadable": "Unlock the keychain, or remove the provider and add it again: `opta providers`.",
    "leaves_lan": "To allow that address, add it: `opta providers add NAME --url URL --kind lmx`.",
    "runner_died": "Send the turn again: the model is loaded anew. One too large for memory dies like this.",
    "bad_permissions": "Mend the file that the message names, and send the turn again.",
    "storage_failed": "Free some space on the disk that holds OPTA_HOME, and send the turn again.",
    "daemon_stopped": "Send the turn again once the daemon runs.",
    "daemon_replaced": "Send the turn again: the new daemon runs. What was answered until then is kept.",
    "daemon_crashed": "Send the turn again; what was answered until then is kept.",
    "internal_error": "This is a defect of the daemon: `opta daemon logs` has the trace.",
}

STOPS: dict[StopReason, str] = {
    "budget": "Send a new turn that says what is still to be done, or allow more.",
    "max_turns": "Send a new turn that says what is still to be done.",
    "loop": "Send a new turn that says what to do differently.",
    "permission": "Allow what was refused, or send a new turn that does without it.",
}


def stopped(reason: StopReason, message: str) -> TurnStopped:
    """How a turn ends that went on for too long, in circles, or against the user's will."""
    return TurnStopped(reason=reason, message=message, hint=STOPS[reason])


class Failure(Exception):
    """What ends a turn as failed; `code` is a key of HINTS.

    `message` is made a sentence, for a hint comes behind it: a server's words often lack the full stop.
    """

    def __init__(self, code: str, message: str) -> None:
        message = message.strip()
        self.code = code
        self.message = message if message.endswith((".", "!", "?", "…")) else f"{message}."
        super().__init__(self.message)

    def event(self) -> TurnFailed:
        return TurnFailed(code=self.code, message=self.message, hint=HINTS[self.code])
