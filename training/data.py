"""The images: scikit-learn's digits (nothing is downloaded) or CIFAR-10 from a folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

CIFAR_SHAPE = (3, 32, 32)
CIFAR_RECORD = 1 + 3 * 32 * 32  # a label byte, then the pixels, channel by channel
CIFAR_CLASSES = 10
CIFAR_PADDING = 4  # pixels that the augmentation may shift an image by
DIGITS_TEST_IMAGES = 500

CIFAR_LAYOUT = """\
The folder must hold CIFAR-10 in its official binary version ("cifar-10-binary.tar.gz"):
  data_batch_1.bin ... data_batch_5.bin   training images, at least one of the five files
  test_batch.bin                          test images
  batches.meta.txt                        the names of the 10 classes, one a line
Each .bin file is a row of records of 3073 bytes: the label (0 to 9), then 3 x 32 x 32 pixels.
Without --data-root the recipe trains on the digits that scikit-learn carries."""


class DataError(Exception):
    """The data is not there or not what it should be; the message says what is expected."""


@dataclass(frozen=True)
class Dataset:
    """Training and test images as bytes; `normalise` makes network inputs of them."""

    name: str
    class_names: list[str]
    train_images: torch.Tensor  # uint8 (count, channels, height, width)
    train_labels: torch.Tensor  # int64 (count)
    test_images: torch.Tensor
    test_labels: torch.Tensor
    mean: torch.Tensor  # per channel, of the training images
    std: torch.Tensor
    augmented: bool  # shift and mirror the training images

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Bytes to FP32 with mean 0 and standard deviation 1 in each channel."""
        return (images.float() - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)


def load(data_root: Path | None, train_limit: int | None = None) -> Dataset:
    """The digits, or CIFAR-10 if a folder is given; `train_limit` keeps the first images only."""
    if train_limit is not None and train_limit < 1:
        raise DataError("--train-limit must be at least 1")
    return load_digits(train_limit) if data_root is None else load_cifar(data_root, train_limit)


def load_digits(train_limit: int | None = None) -> Dataset:
    """1797 scans of handwritten digits, 8 x 8 pixels of 17 grey levels; 500 are for the test."""
    from sklearn.datasets import load_digits as sklearn_digits
    from sklearn.model_selection import train_test_split

    digits = sklearn_digits()
    images = digits.images.astype(np.uint8)[:, None]
    train_images, test_images, train_labels, test_labels = train_test_split(
        images,
        digits.target.astype(np.int64),
        test_size=DIGITS_TEST_IMAGES,
        stratify=digits.target,
        random_state=0,
    )
    return _dataset(
        "digits",
        [str(digit) for digit in range(10)],
        (train_images[:train_limit], train_labels[:train_limit]),
        (test_images, test_labels),
        augmented=False,
    )


def load_cifar(folder: Path, train_limit: int | None = None) -> Dataset:
    """CIFAR-10 from the binary files that are in `folder`."""
    train_files = [folder / f"data_batch_{number}.bin" for number in range(1, 6)]
    present = [path for path in train_files if path.is_file()]
    missing = [] if present else [train_files[0].name]
    missing += [
        name for name in ("test_batch.bin", "batches.meta.txt") if not (folder / name).is_file()
    ]
    if missing:
        raise DataError(f"--data-root {folder}: {', '.join(missing)} not found.\n{CIFAR_LAYOUT}")

    batches = [_read_cifar_file(path) for path in present]
    train_images = np.concatenate([images for images, _ in batches])[:train_limit]
    train_labels = np.concatenate([labels for _, labels in batches])[:train_limit]
    return _dataset(
        "cifar-10",
        (folder / "batches.meta.txt").read_text().split(),
        (train_images, train_labels),
        _read_cifar_file(folder / "test_batch.bin"),
        augmented=True,
    )


def _read_cifar_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one file."""
    content = np.fromfile(path, dtype=np.uint8)
    if content.size == 0 or content.size % CIFAR_RECORD != 0:
        raise DataError(
            f"{path}: {content.size} bytes are not a row of records of {CIFAR_RECORD} bytes.\n"
            + CIFAR_LAYOUT
        )
    records = content.reshape(-1, CIFAR_RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= CIFAR_CLASSES:
        raise DataError(f"{path}: label {labels.max()} is not one of 0 to 9.\n{CIFAR_LAYOUT}")
    return records[:, 1:].reshape(-1, *CIFAR_SHAPE), labels


def _dataset(
    name: str,
    class_names: list[str],
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    augmented: bool,
) -> Dataset:
    train_images = torch.from_numpy(np.ascontiguousarray(train[0]))
    return Dataset(
        name=name,
        class_names=class_names,
        train_images=train_images,
        train_labels=torch.from_numpy(np.ascontiguousarray(train[1])),
        test_images=torch.from_numpy(np.ascontiguousarray(test[0])),
        test_labels=torch.from_numpy(np.ascontiguousarray(test[1])),
        mean=_channel_mean(train_images),
        std=_channel_std(train_images),
        augmented=augmented,
    )


def _channel_mean(images: torch.Tensor) -> torch.Tensor:
    return images.double().mean(dim=(0, 2, 3)).float()


def _channel_std(images: torch.Tensor) -> torch.Tensor:
    return images.double().std(dim=(0, 2, 3)).clamp(min=1e-6).float()
