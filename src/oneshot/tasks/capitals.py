"""Capitals of countries, `The capital of Peru is`: something a pretrained model knows, to see whether RL costs it."""

import random
from typing import ClassVar

from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import verify_bare_answer

PAIRS = """
Afghanistan Kabul, Albania Tirana, Algeria Algiers, Angola Luanda, Armenia Yerevan, Australia Canberra, Austria
Vienna, Azerbaijan Baku, Bangladesh Dhaka, Belarus Minsk, Belgium Brussels, Bulgaria Sofia, Canada Ottawa, Chile
Santiago, China Beijing, Croatia Zagreb, Cuba Havana, Cyprus Nicosia, Denmark Copenhagen, Ecuador Quito, Egypt Cairo,
Estonia Tallinn, Fiji Suva, Finland Helsinki, Georgia Tbilisi, Germany Berlin, Ghana Accra, Greece Athens, Hungary
Budapest, Iceland Reykjavik, Indonesia Jakarta, Iran Tehran, Iraq Baghdad, Ireland Dublin, Italy Rome, Jamaica
Kingston, Jordan Amman, Kenya Nairobi, Laos Vientiane, Latvia Riga, Lebanon Beirut, Liberia Monrovia, Libya Tripoli,
Lithuania Vilnius, Madagascar Antananarivo, Mali Bamako, Malta Valletta, Mongolia Ulaanbaatar, Morocco Rabat,
Mozambique Maputo, Namibia Windhoek, Nepal Kathmandu, Nicaragua Managua, Nigeria Abuja, Norway Oslo, Oman Muscat,
Pakistan Islamabad, Peru Lima, Poland Warsaw, Portugal Lisbon, Qatar Doha, Romania Bucharest, Russia Moscow, Rwanda
Kigali, Senegal Dakar, Serbia Belgrade, Slovakia Bratislava, Slovenia Ljubljana, Somalia Mogadishu, Spain Madrid,
Sudan Khartoum, Sweden Stockholm, Syria Damascus, Thailand Bangkok, Tunisia Tunis, Turkey Ankara, Uganda Kampala,
Uruguay Montevideo, Venezuela Caracas, Vietnam Hanoi, Yemen Sanaa, Zambia Lusaka, Zimbabwe Harare
"""
"""Country and capital, one word each. Without France and Japan, which are left for worked examples."""
CAPITALS = dict(pair.split() for pair in PAIRS.split(","))


class Capitals(Task):
    name: ClassVar[str] = "capitals"

    def draw(self, rng: random.Random) -> Problem:
        country = rng.choice(list(CAPITALS))
        return Problem(self.name, f"The capital of {country} is", CAPITALS[country])

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return verify_bare_answer(completion, problem.answer)
