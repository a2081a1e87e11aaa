"""The colours and proportions of six breeds."""

from dataclasses import dataclass, replace

import numpy as np

from local.datasets.drawn.canvas import Colour, shade


@dataclass(frozen=True)
class Breed:
    """The appearance of a breed. Lengths are in head radii.

    Colours: `coat` for the body, `face` for the head, `ears`, `limbs` for paws and tail tip, `chest` for bib and belly.
    `markings` names a pattern in `animals` and `marking` is its colour. `ear` is pointed, floppy or button.
    """

    name: str
    species: str
    coat: Colour
    face: Colour
    ears: Colour
    limbs: Colour
    chest: Colour
    eye: Colour
    ear: str
    markings: str | None = None
    marking: Colour = (0, 0, 0)
    muzzle: Colour | None = None
    fur: float = 0.05
    legs: float = 1.0
    head_width: float = 1.0
    tail: str = "long"


BREEDS = (
    Breed(
        name="beagle",
        species="dog",
        coat=(190, 116, 58),
        face=(196, 122, 62),
        ears=(142, 78, 38),
        limbs=(246, 240, 228),
        chest=(248, 243, 234),
        eye=(74, 44, 24),
        ear="floppy",
        markings="saddle",
        marking=(42, 34, 32),
        muzzle=(250, 246, 238),
        head_width=0.9,
        tail="up",
    ),
    Breed(
        name="Bengal",
        species="cat",
        coat=(208, 146, 72),
        face=(212, 152, 80),
        ears=(190, 124, 60),
        limbs=(200, 136, 66),
        chest=(244, 224, 188),
        eye=(112, 158, 62),
        ear="pointed",
        markings="spots",
        marking=(70, 40, 20),
        muzzle=(246, 228, 198),
    ),
    Breed(
        name="pug",
        species="dog",
        coat=(222, 190, 144),
        face=(224, 192, 148),
        ears=(48, 40, 38),
        limbs=(214, 182, 138),
        chest=(230, 202, 160),
        eye=(52, 32, 22),
        ear="button",
        markings="wrinkles",
        marking=(52, 44, 42),
        muzzle=(56, 46, 44),
        legs=0.7,
        head_width=1.06,
        tail="curl",
    ),
    Breed(
        name="Russian_Blue",
        species="cat",
        coat=(112, 124, 142),
        face=(118, 130, 148),
        ears=(100, 110, 128),
        limbs=(106, 118, 136),
        chest=(126, 138, 156),
        eye=(108, 184, 88),
        ear="pointed",
        muzzle=(128, 140, 158),
    ),
    Breed(
        name="samoyed",
        species="dog",
        coat=(244, 242, 236),
        face=(248, 246, 241),
        ears=(238, 232, 222),
        limbs=(246, 244, 240),
        chest=(252, 251, 248),
        eye=(48, 34, 26),
        ear="pointed",
        muzzle=(253, 252, 250),
        fur=0.22,
        tail="plume",
    ),
    Breed(
        name="Siamese",
        species="cat",
        coat=(232, 216, 190),
        face=(226, 208, 180),
        ears=(70, 52, 46),
        limbs=(76, 57, 50),
        chest=(240, 228, 206),
        eye=(74, 144, 214),
        ear="pointed",
        markings="mask",
        marking=(72, 54, 48),
        head_width=0.92,
    ),
)


def individual(breed: Breed, generator: np.random.Generator) -> Breed:
    """Return one animal of the breed, with randomly varied colours and proportions."""
    light = generator.uniform(0.88, 1.08)
    warmth = generator.normal(0, 5)

    def tint(colour: Colour) -> Colour:
        red, green, blue = shade(colour, light)
        return shade((round(red + warmth), green, round(blue - warmth)), 1.0)

    return replace(
        breed,
        coat=tint(breed.coat),
        face=tint(breed.face),
        ears=tint(breed.ears),
        limbs=tint(breed.limbs),
        chest=tint(breed.chest),
        marking=tint(breed.marking),
        muzzle=None if breed.muzzle is None else tint(breed.muzzle),
        fur=breed.fur * generator.uniform(0.7, 1.3),
        legs=breed.legs * generator.uniform(0.9, 1.15),
        head_width=breed.head_width * generator.uniform(0.95, 1.06),
    )
