"""Regions as four location bins, as OFA quantises them (arXiv 2202.03052, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from ofa_mi.data.instance import Box, check_box
from ofa_mi.errors import ConfigError


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

    def quantise(
        self, box: Box, image_size: tuple[int, int], *, flip: bool = False, name: str = "region"
    ) -> tuple[int, int, int, int]:
        """Bins of a box.

        Args:
            box: ``(x0, y0, x1, y1)`` in pixels of the original image.
            image_size: ``(width, height)`` of the original image.
            flip: The image is mirrored left to right.
            name: What an error message calls the box.

        Raises:
            DataError: The box is empty, reversed or reaches outside the image.
        """
        check_box(box, image_size, name)
        scale_x, scale_y = self._bins_per_pixel(image_size)
        x0, y0, x1, y1 = mirror(box, image_size[0]) if flip else box
        # Python rounds halves to even, as torch does in OFA.
        return round(x0 * scale_x), round(y0 * scale_y), round(x1 * scale_x), round(y1 * scale_y)

    def restore(self, bins: tuple[int, int, int, int], image_size: tuple[int, int], *, flip: bool = False) -> Box:
        """The box that four bins stand for, clipped to the image.

        A model may generate bins in any order, so the box may be reversed (``x1 < x0``); it is given
        as generated.

        Args:
            bins: ``(x0, y0, x1, y1)``.
            image_size: ``(width, height)`` of the original image.
            flip: The bins are those of the mirrored image.

        Returns:
            ``(x0, y0, x1, y1)`` in pixels of the original image.
        """
        scales = self._bins_per_pixel(image_size) * 2
        box = tuple(min(bin / scale, side) for bin, scale, side in zip(bins, scales, image_size * 2, strict=True))
        return mirror(box, image_size[0]) if flip else box

    def _bins_per_pixel(self, image_size: tuple[int, int]) -> tuple[float, float]:
        """Bins per pixel of the original image, horizontally and vertically."""
        width, height = image_size
        bins = self.patch_image_size / self.max_image_size * (self.num_bins - 1)
        return bins / width, bins / height


def mirror(box: Box, width: float) -> Box:
    """``box`` in an image of this width mirrored left to right."""
    x0, y0, x1, y1 = box
    return width - x1, y0, width - x0, y1
