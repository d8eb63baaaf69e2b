"""The batches of training and validation, as Lightning asks for them."""

import lightning.pytorch as L

from musicgen_lite.training.sampler import ClipLoader, EpochSampler, RankShard, StepLoader, pinned
from musicgen_lite.training.setup import TrainingSetup


class TokenData(L.LightningDataModule):
    """Batches for Lightning, whose epochs are here the intervals between two validations.

    Passes over the data are counted by the sampler and are independent of these intervals.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__()
        self.parts = setup  # not `setup`, which is a hook of Lightning's
        self.sampler = EpochSampler(setup.train_clips, setup.params.seed)
        self.make = pinned if setup.hardware.accelerator == "cuda" else map

    def _shard(self) -> RankShard:
        assert self.trainer is not None
        return RankShard(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> StepLoader:
        """The batches from the present step to the next validation."""
        assert self.trainer is not None
        parts, validations = self.parts, self.parts.validation_steps
        # Resuming a complete training asks for data, too, before Lightning sees that no step is left.
        interval = min(self.trainer.current_epoch, len(validations) - 1)
        return StepLoader(
            parts.dataset,
            self.sampler,
            parts.batch_size,
            parts.params.train.effective_batch_size,
            first=([0, *validations])[interval],
            start=self.trainer.global_step,
            stop=validations[interval],
            shard=self._shard(),
            make=self.make,
        )

    def val_dataloader(self) -> ClipLoader:
        parts = self.parts
        return ClipLoader(parts.dataset, parts.validation_clips, parts.batch_size, self._shard(), self.make)
