"""A Lightning model on the sphere that learns the tangent gradient of a scalar field."""

import argparse

import lightning
import torch

import meshconv
from meshconv import nn as layers


class GradientOf(lightning.LightningModule):
    def __init__(self, graph, channels=8):
        super().__init__()
        hidden = f"{channels}x0 + {channels}x1"
        self.graph = graph
        self.network = layers.Sequential(
            layers.GaugeConv("1x0", hidden), layers.NormNonlinearity(hidden), layers.GaugeConv(hidden, "1x1")
        )

    def forward(self, x):
        return self.network(x, self.graph.to(x.device))

    def training_step(self, batch):
        x, y = batch
        return torch.nn.functional.mse_loss(self(x), y)

    def test_step(self, batch):
        x, y = batch
        self.log("relative error", (self(x) - y).norm() / y.norm())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--nside", type=int, default=8)
    given = parser.parse_args()
    lightning.seed_everything(0, verbose=False)
    graph = meshconv.HealpixSphere(given.nside).gauge_graph().to(torch.float32)
    waves = torch.randn(96, 3)  # f(p) = cos(k . p) has the gradient -sin(k . p) k, of which the tangent part counts
    phase = waves @ graph.positions.T
    slope = -torch.sin(phase)[..., None] * waves[:, None]
    slope = layers.from_ambient(slope[:, :, None], graph, "1x1")
    data = torch.utils.data.TensorDataset(torch.cos(phase)[..., None], slope)
    train, test = torch.utils.data.random_split(data, [80, 16])
    task = GradientOf(graph)
    trainer = lightning.Trainer(max_epochs=given.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(task, torch.utils.data.DataLoader(train, batch_size=8, shuffle=True))
    error = trainer.test(task, torch.utils.data.DataLoader(test, batch_size=16), verbose=False)[0]["relative error"]
    print(f"tangent gradients of 16 new fields on {graph.num_vertices} points: relative error {error:.3f}")


if __name__ == "__main__":
    main()
