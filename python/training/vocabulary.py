"""The words for every attribute of a scene. Several entries of one list mean the same thing."""

from __future__ import annotations

from typing import Final

from .scenes.spec import Body, Colour, Ground, Side, Thing, Time, Weather

TIME_NOUNS: Final[dict[Time, tuple[str, ...]]] = {
    "sunrise": ("sunrise", "sunrise", "sunrise", "dawn", "daybreak"),
    "morning": ("morning", "morning", "early morning", "fresh morning", "morning light"),
    "day": ("day", "noon", "midday", "afternoon", "daytime", "blue sky", "bright day"),
    "sunset": ("sunset", "sunset", "sunset", "sunset", "golden hour", "sundown"),
    "dusk": ("dusk", "dusk", "twilight", "blue hour", "evening"),
    "night": ("night", "night", "night", "midnight", "night sky", "nighttime"),
}
"""Nouns that can stand alone or with "over"."""

TIME_PHRASES: Final[dict[Time, tuple[str, ...]]] = {
    "sunrise": ("at sunrise", "at dawn", "during sunrise", "at daybreak"),
    "morning": ("in the morning", "in the early morning", "on a bright morning", "in morning light"),
    "day": ("at noon", "at midday", "during the day", "in the afternoon", "under a blue sky", "by day"),
    "sunset": ("at sunset", "during sunset", "at golden hour", "in the sunset", "at sundown"),
    "dusk": ("at dusk", "at twilight", "in the evening", "in the blue hour"),
    "night": ("at night", "by night", "at midnight", "in the night", "under the stars"),
}
"""Phrases that follow what they describe."""

WEATHER_NOUNS: Final[dict[Weather, tuple[str, ...]]] = {
    "clear": ("clear sky", "clear weather", "cloudless sky"),
    "clouds": ("clouds", "cloudy sky", "cloudy", "dramatic clouds", "fluffy clouds"),
    "storm": ("storm", "thunderstorm", "lightning", "stormy sky", "lightning storm", "stormy"),
    "fog": ("fog", "mist", "foggy", "misty", "thick fog", "haze"),
    "rain": ("rain", "rainy", "raining", "heavy rain", "rain falling", "drizzle"),
    "snowfall": ("snowfall", "snowing", "falling snow", "snowflakes", "snow falling", "blizzard"),
    "rainbow": ("rainbow", "a rainbow", "colorful rainbow", "rainbow in the sky"),
    "aurora": ("aurora", "northern lights", "aurora borealis", "polar lights"),
}
"""Words that stand between commas or after "with"."""

WEATHER_PHRASES: Final[dict[Weather, tuple[str, ...]]] = {
    "clear": ("with a clear sky", "under a clear sky", "in clear weather"),
    "clouds": ("with clouds", "under a cloudy sky", "with dramatic clouds", "with fluffy clouds"),
    "storm": ("in a storm", "in a thunderstorm", "with lightning", "under a stormy sky", "during a storm"),
    "fog": ("in the fog", "in the mist", "covered in fog", "in thick fog", "with fog"),
    "rain": ("in the rain", "on a rainy day", "with rain", "in heavy rain"),
    "snowfall": ("in falling snow", "in the falling snow", "with snow falling", "in a snowfall", "while it snows"),
    "rainbow": ("with a rainbow", "under a rainbow", "with a rainbow in the sky"),
    "aurora": ("under the northern lights", "with an aurora", "with northern lights", "under the aurora"),
}

GROUND_NOUNS: Final[dict[Ground, tuple[str, ...]]] = {
    "sea": ("sea", "ocean", "sea", "open sea", "ocean waves", "water"),
    "lake": ("lake", "lake", "calm lake", "mountain lake", "pond"),
    "beach": ("beach", "sandy beach", "shore", "coast", "tropical beach"),
    "mountains": ("mountains", "mountain", "mountain range", "snowy mountains", "alps", "peaks"),
    "desert": ("desert", "desert", "sand dunes", "dunes", "sahara"),
    "meadow": ("meadow", "field", "flower meadow", "field of flowers", "grass field", "grassland"),
    "hills": ("hills", "green hills", "rolling hills", "countryside", "hill"),
    "forest": ("forest", "woods", "pine forest", "forest", "pine trees"),
    "city": ("city", "city skyline", "skyline", "skyscrapers", "town", "buildings", "cityscape"),
    "snow": (
        "snow",
        "snow",
        "snow field",
        "snowy field",
        "snowy landscape",
        "winter landscape",
        "snowy plain",
        "field of snow",
    ),
}

ON_GROUND: Final[dict[Ground, tuple[str, ...]]] = {
    "sea": ("on the", "at the", "by the"),
    "lake": ("on the", "by the", "at a"),
    "beach": ("on the", "at the", "by the"),
    "mountains": ("in the", "in front of the", "near the"),
    "desert": ("in the", "in a"),
    "meadow": ("in a", "in the", "on a"),
    "hills": ("in the", "among the", "on the"),
    "forest": ("in the", "in front of a", "near the"),
    "city": ("in the", "over the", "in a"),
    "snow": ("in a", "on a", "in the"),
}
"""How a foreground thing is placed on the ground."""

THING_NOUNS: Final[dict[Thing, tuple[str, ...]]] = {
    "none": (),
    "boat": ("boat", "sailboat", "sailing boat", "ship", "yacht"),
    "tree": ("tree", "lonely tree", "big tree", "tree"),
    "house": ("house", "cottage", "cabin", "little house", "home"),
    "birds": ("birds", "flock of birds", "flying birds", "seagulls", "bird"),
    "cactus": ("cactus", "big cactus", "saguaro cactus"),
    "lighthouse": ("lighthouse",),
    "balloon": ("hot air balloon", "balloon", "flying balloon"),
}

COLOUR_WORDS: Final[dict[Colour, tuple[str, ...]]] = {
    "none": (),
    "red": ("red", "red", "bright red", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "blue": ("blue", "blue", "bright blue"),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
}

BODY_NOUNS: Final[dict[Body, tuple[str, ...]]] = {
    "none": (),
    "sun": ("sun", "bright sun", "glowing sun", "sun"),
    "moon": ("moon", "full moon", "bright moon", "moon"),
}

SIDE_PHRASES: Final[dict[Side, tuple[str, ...]]] = {
    "left": ("on the left", "left", "on the left side"),
    "center": ("in the center", "in the middle", "centered"),
    "right": ("on the right", "right", "on the right side"),
}

HIGH_PHRASES: Final = ("high in the sky", "high", "overhead")
LOW_PHRASES: Final = ("low", "low over the horizon", "near the horizon")

ADJECTIVES: Final = (
    "beautiful", "beautiful", "stunning", "peaceful", "serene", "pretty", "amazing", "majestic", "gorgeous", "calm",
    "breathtaking", "epic", "colorful", "lovely", "quiet", "dreamy", "scenic", "magical", "picturesque", "nice",
)  # fmt: skip

OPENINGS: Final = (
    "a photo of", "photo of", "a painting of", "an oil painting of", "a picture of", "an image of", "a drawing of",
    "an illustration of", "a photograph of", "a view of", "landscape with", "a landscape of", "a scene of",
    "watercolor of", "digital art of", "a wide shot of",
)  # fmt: skip

TAGS: Final = (
    "4k", "8k", "highly detailed", "detailed", "masterpiece", "cinematic", "cinematic lighting", "photorealistic",
    "digital art", "oil painting", "trending on artstation", "award winning", "sharp focus", "hdr", "wallpaper",
    "high quality", "best quality", "ultra realistic", "landscape", "nature", "concept art", "watercolor", "artstation",
    "professional photography", "vivid colors", "illustration", "high resolution", "unreal engine", "scenery",
    "dramatic lighting", "soft light", "wide angle", "minimalist", "postcard", "style of a poster", "photography",
)  # fmt: skip

STRAY_WORDS: Final = (
    "cat", "dog", "horse", "woman", "man", "girl", "boy", "robot", "dragon", "car", "castle", "bridge", "flower",
    "portrait", "space", "planet", "astronaut", "fish", "table", "cup", "coffee", "book", "street", "road", "train",
    "king", "queen", "face", "eyes", "dancing", "riding", "sitting", "very", "with", "and", "small", "large", "old",
    "young", "happy", "sad", "futuristic", "ancient", "japanese", "style", "by", "van gogh", "monet", "pixel", "cute",
    "glass", "wooden", "river", "waterfall", "island", "bicycle", "tiger", "wolf", "cyberpunk", "steampunk", "anime",
    "cartoon", "abstract", "geometric", "neon", "fire", "smoke", "sketch", "vintage", "fantasy", "realistic", "test",
    "hello world", "the", "of", "some", "many", "two", "three", "people", "children", "garden", "room", "chair",
)  # fmt: skip
"""Words the model does not know; mixed into captions at random so that they carry no meaning."""

BAD_PHRASES: Final = (
    "blurry, low quality", "blurry, low quality", "blurry, low quality", "blurry", "low quality", "blurry, ugly",
    "low quality, blurry, noisy", "worst quality, low quality", "ugly, bad quality, blurry", "bad art, dull colors",
)  # fmt: skip
"""What degraded pictures are called; the usual negative prompts."""
