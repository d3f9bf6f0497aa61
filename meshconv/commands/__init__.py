"""One file a command: ``run`` takes its words, the first its own name. Imported when it is asked for."""

__all__: list[str] = []
