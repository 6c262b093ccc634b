"""How is L-DiffRec trained? With a learning rate for each of its two parts."""

from recbole_diffusion.trainer.trainer import DiffusionTrainer


class LDiffRecTrainer(DiffusionTrainer):
    """One optimiser with a learning rate for the auto-encoder and one for the denoiser."""

    def _build_optimizer(self, **kwargs):
        return super()._build_optimizer(params=self.model.parameter_groups(), **kwargs)

    def _train_epoch(self, *args, **kwargs):
        loss = super()._train_epoch(*args, **kwargs)
        self.model.epochs += 1
        return loss
