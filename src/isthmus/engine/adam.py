"""Adam with decoupled weight decay, one fused call a step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov 2019) over named parameters.

    It calls the fused kernel directly: importing ``torch.optim`` for its Adam costs a second before the first step.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        named = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
        # Decay shrinks what multiplies data; biases, variances and the linear shortcut are not what overfits.
        decays = {name for name, p in named if p.dim() > 1 and not name.endswith("shortcut")} if weight_decay else set()
        self.groups = [
            _Group([n for n, _ in named if n in decays], [p for n, p in named if n in decays], weight_decay),
            _Group([n for n, _ in named if n not in decays], [p for n, p in named if n not in decays], 0.0),
        ]
        self.betas, self.eps = betas, eps

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every parameter that has a gradient, then forget the gradients."""
        for group in self.groups:
            active = [i for i, p in enumerate(group.parameters) if p.grad is not None]
            steps = [group.steps[i] for i in active]
            if active:
                torch._foreach_add_(steps, 1.0)  # pyright: ignore[reportPrivateImportUsage] - the kernel reads the count only
                torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage] - its public door is what costs the second
                    [group.parameters[i] for i in active],
                    [p.grad for p in group.parameters if p.grad is not None],
                    [group.mean[i] for i in active],
                    [group.square[i] for i in active],
                    [],
                    steps,
                    lr=learning_rate,
                    beta1=self.betas[0],
                    beta2=self.betas[1],
                    weight_decay=group.weight_decay,
                    eps=self.eps,
                    amsgrad=False,
                    maximize=False,
                )
            for parameter in group.parameters:
                parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return copies of the moments by parameter name."""
        state: dict[str, Tensor] = {}
        for group in self.groups:
            for i, name in enumerate(group.names):
                state[f"{name}.mean"] = group.mean[i].clone()
                state[f"{name}.square"] = group.square[i].clone()
                state[f"{name}.steps"] = group.steps[i].clone()
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` returned."""
        for group in self.groups:
            for i, name in enumerate(group.names):
                group.mean[i].copy_(state[f"{name}.mean"])
                group.square[i].copy_(state[f"{name}.square"])
                group.steps[i].copy_(state[f"{name}.steps"])


class _Group:
    """Parameters that share a weight decay, with their running moments."""

    def __init__(self, names: list[str], parameters: list[nn.Parameter], weight_decay: float) -> None:
        self.names, self.parameters, self.weight_decay = names, parameters, weight_decay
        self.mean = [torch.zeros_like(p) for p in parameters]
        self.square = [torch.zeros_like(p) for p in parameters]
        self.steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in parameters]
