"""How far trainings and the surfaces that follow have got, counted in one measure."""

from dataclasses import dataclass

from resexp.core.lab import Progress


@dataclass
class SurfaceProgress:
    """Progress of so many `trainings` and `rows` of grids; training, row: what one costs, in forward passes."""

    tell: Progress
    trainings: int
    training: int
    rows: int
    row: int
    _rows_done: int = 0

    def of_training(self, number: int) -> Progress:
        """Progress of one training."""

        def tell(done: int, total: int) -> None:
            self.tell(round((number + done / total) * self.training), self._total)

        return tell

    def trained(self) -> None:
        """All are trained, here or by another run."""
        self.tell(self.trainings * self.training, self._total)

    def rows_done(self, rows: int) -> None:
        """So many more rows."""
        self._rows_done += rows
        self.tell(min(self._total, self.trainings * self.training + self._rows_done * self.row), self._total)

    @property
    def _total(self) -> int:
        return self.trainings * self.training + self.rows * self.row
