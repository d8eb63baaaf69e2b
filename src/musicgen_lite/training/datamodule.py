"""The batches of training and validation, as Lightning asks for them."""

import lightning.pytorch as L

from musicgen_lite.params import TrainParams
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.sampler import ClipLoader, EpochSampler, RankShard, StepLoader


class TokenData(L.LightningDataModule):
    """Batches for Lightning, whose epochs are here the intervals between two validations.

    `boundaries` are the optimizer steps after which the model is validated; the last one ends the training. Passes over
    the data are counted by the sampler and are independent of these intervals.
    """

    def __init__(
        self,
        training: TokenDataset,
        validation: TokenDataset,
        clips: tuple[list[str], list[str]],
        params: TrainParams,
        batch_size: int,
        boundaries: list[int],
    ) -> None:
        super().__init__()
        self.training = training
        self.validation = validation
        self.sampler = EpochSampler(clips[0], training.seed)
        self.validation_clips = clips[1]
        self.params = params
        self.batch_size = batch_size
        self.boundaries = boundaries

    def _shard(self) -> RankShard:
        assert self.trainer is not None
        return RankShard(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> StepLoader:
        """The batches from the present step to the next validation."""
        assert self.trainer is not None
        # Resuming a complete training asks for data, too, before Lightning sees that no step is left.
        interval = min(self.trainer.current_epoch, len(self.boundaries) - 1)
        return StepLoader(
            self.training,
            self.sampler,
            self.batch_size,
            self.params.effective_batch_size,
            first=([0, *self.boundaries])[interval],
            start=self.trainer.global_step,
            stop=self.boundaries[interval],
            shard=self._shard(),
        )

    def val_dataloader(self) -> ClipLoader:
        return ClipLoader(self.validation, self.validation_clips, self.batch_size, self._shard())
