"""Regions as four location bins, as OFA quantises them (arXiv 2202.03052, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from ofa_mi.errors import ConfigError
from ofa_mi.geometry import Box, check_box


@dataclass(frozen=True, kw_only=True)
class RegionCodec:
    """Turns boxes into bins and back.

    A coordinate is scaled with the image to ``patch_image_size`` and then
    ``bin = round(coordinate / max_image_size * (num_bins - 1))``, so that the bins of a model mean
    the same at every input size; below ``max_image_size`` the highest bins stay unused.

    Attributes:
        num_bins: Number of location tokens.
        max_image_size: Side in pixels that the highest bin stands for.
        patch_image_size: Side in pixels of the square that images are resized to.

    Raises:
        ConfigError: ``patch_image_size`` exceeds ``max_image_size``: there would be no bins for the
            right and lower edge.
    """

    num_bins: int = 1000
    max_image_size: int = 512
    patch_image_size: int

    def __post_init__(self) -> None:
        if self.num_bins < 2 or not 0 < self.patch_image_size <= self.max_image_size:
            raise ConfigError(
                f"patch image size {self.patch_image_size} must be positive and at most the maximum image size "
                f"{self.max_image_size}, and there must be at least 2 bins, found {self.num_bins}"
            )

    def quantise(self, box: Box, image_size: tuple[int, int], *, name: str = "region") -> tuple[int, int, int, int]:
        """Bins of a box.

        Args:
            box: ``(x0, y0, x1, y1)`` in pixels of the original image.
            image_size: ``(width, height)`` of the original image.
            name: What an error message calls the box.

        Raises:
            DataError: The box is less than a pixel wide or high, reversed, or reaches outside the image.
        """
        check_box(box, image_size, name)
        return tuple(self._bin(c, side) for c, side in zip(box, image_size * 2, strict=True))

    def restore(self, bins: tuple[int, int, int, int], image_size: tuple[int, int]) -> Box:
        """The box that four bins stand for, clipped to the image.

        A model may generate bins in any order, so the box may be reversed (``x1 < x0``); it is given
        as generated.

        Args:
            bins: ``(x0, y0, x1, y1)``.
            image_size: ``(width, height)`` of the original image.

        Returns:
            ``(x0, y0, x1, y1)`` in pixels of the original image.
        """
        sides = image_size * 2
        pixels_per_bin = (self.max_image_size / self.patch_image_size * side / (self.num_bins - 1) for side in sides)
        return tuple(min(k * pixels, side) for k, pixels, side in zip(bins, pixels_per_bin, sides, strict=True))

    def _bin(self, coordinate: float, side: int) -> int:
        """Bin of a coordinate of an image with this side.

        In this order of operations the middle of an image is exact; halves round to even, as torch rounds in OFA.
        """
        resized = coordinate * self.patch_image_size / side
        return round(resized / self.max_image_size * (self.num_bins - 1))
