"""Small tables of common knowledge, the material of the conversations."""

import re


def _names(text: str) -> list[str]:
    return text.split()


def _rows(text: str) -> list[list[str]]:
    """Rows of cells between bars; an indented line goes on with the one before it."""
    flat = re.sub(r"\n\s+", " ", text.strip())
    return [[x.strip() for x in line.split("|")] for line in flat.splitlines()]


# animal | plural | verb of its sound | sound | where it lives | baby | plural baby | food | legs | can it fly or swim
ANIMALS = _rows("""
cat | cats | says | meow | in houses with people, and some live on farms | kitten | kittens | meat and fish | four |
   climb
dog | dogs | says | woof | in houses with people | puppy | puppies | meat and dog food | four | run
cow | cows | says | moo | on farms | calf | calves | grass and hay | four | walk
horse | horses | says | neigh | on farms and in fields | foal | foals | grass, hay, and oats | four | run
sheep | sheep | says | baa | on farms and in meadows | lamb | lambs | grass | four | walk
pig | pigs | says | oink | on farms | piglet | piglets | grain, roots, and vegetables | four | walk
duck | ducks | says | quack | near ponds and lakes | duckling | ducklings | plants, seeds, and small water animals |
   two | swim
hen | hens | says | cluck | on farms | chick | chicks | grain, seeds, and insects | two | walk
frog | frogs | says | ribbit | near ponds and streams | tadpole | tadpoles | insects | four | jump
lion | lions | says | roar | on grassy plains in Africa | cub | cubs | meat | four | run
owl | owls | says | hoot | in trees and old barns | owlet | owlets | mice and other small animals | two | fly
bee | bees | says | buzz | in hives | larva | larvae | nectar and pollen | six | fly
mouse | mice | says | squeak | in small holes | pup | pups | seeds and grain | four | run
goat | goats | says | baa | on farms and in the mountains | kid | kids | grass and leaves | four | climb
bear | bears | says | growl | in forests and mountains | cub | cubs | berries, roots, and fish | four | climb
fox | foxes | says | yip | in dens in the forest | cub | cubs | mice, berries, and insects | four | run
rabbit | rabbits | | | in burrows under the ground | kit | kits | grass and leaves | four | hop
fish | fish | | | in rivers, lakes, and the sea | baby fish | baby fish | plants and small water animals | no | swim
whale | whales | | | in the sea | calf | calves | fish and other small sea animals | no | swim
penguin | penguins | | | near cold seas in the south | chick | chicks | fish | two | swim
elephant | elephants | | | in Africa and Asia | calf | calves | grass, leaves, and fruit | four | walk
giraffe | giraffes | | | on the plains of Africa | calf | calves | leaves from tall trees | four | walk
camel | camels | | | in dry deserts | calf | calves | dry grass and other plants | four | walk
kangaroo | kangaroos | | | in Australia | joey | joeys | grass and leaves | four | jump
squirrel | squirrels | | | in trees | kit | kits | nuts and seeds | four | climb
monkey | monkeys | | | in warm forests | infant | infants | fruit, leaves, and insects | four | climb
spider | spiders | | | in webs and other quiet corners | spiderling | spiderlings | flies and other insects | eight |
   climb
ant | ants | | | in nests under the ground | larva | larvae | seeds, sweet juice, and insects | six | walk
snail | snails | | | in gardens and other wet places | baby snail | baby snails | leaves and soft plants | no | crawl
swan | swans | | | on lakes and rivers | cygnet | cygnets | water plants | two | swim
deer | deer | | | in forests | fawn | fawns | leaves, grass, and bark | four | run
turtle | turtles | | | in ponds, lakes, and the sea | hatchling | hatchlings | plants and small water animals | four |
   swim
butterfly | butterflies | | | in gardens and meadows | caterpillar | caterpillars | nectar from flowers | six | fly
""")

OPPOSITES = _rows("""
hot|cold
big|small
happy|sad
up|down
day|night
fast|slow
light|dark
open|closed
wet|dry
hard|soft
high|low
long|short
old|young
full|empty
loud|quiet
near|far
clean|dirty
early|late
thick|thin
heavy|light
strong|weak
front|back
left|right
inside|outside
above|below
easy|difficult
rich|poor
first|last
sweet|sour
smooth|rough
wide|narrow
awake|asleep
true|false
always|never
begin|end
push|pull
come|go
buy|sell
laugh|cry
remember|forget
win|lose
brave|afraid
""")

COLORS = _rows("""
the sky|blue|on a clear day
grass|green|
a banana|yellow|when it is ripe
snow|white|
a carrot|orange|
a strawberry|red|when it is ripe
coal|black|
milk|white|
a lemon|yellow|
a tomato|red|when it is ripe
the sun|yellow|to our eyes, but really it is white
a frog|green|most of the time
an elephant|gray|
chocolate|brown|
a pumpkin|orange|
a polar bear|white|
a raven|black|
a cucumber|green|on the outside
a cherry|red|
a flamingo|pink|
a cloud|white or gray|
broccoli|green|
salt|white|
a ripe orange|orange|
a leaf|green|in the summer
""")

USES = _rows("""
a knife|to cut food|Be careful, because it is sharp.
an umbrella|to stay dry in the rain|It can also give shade.
a spoon|to eat soup and to stir things|
a fork|to pick up food|
a cup|to drink from|
a bed|to sleep in|
a chair|to sit on|
a lamp|to see in the dark|
a pencil|to write and to draw|You can rub the marks out with an eraser.
scissors|to cut paper and cloth|
a broom|to sweep the floor|
a key|to open and close a lock|
a clock|to see what time it is|
a towel|to dry themselves|
soap|to wash their hands and bodies|
a toothbrush|to clean their teeth|
a hammer|to hit nails|
a saw|to cut wood|
a ladder|to reach high places|
a needle|to sew cloth|
a bag|to carry things|
a pot|to cook food|
a blanket|to keep warm|
a bucket|to carry water or sand|
a map|to find the way|
glasses|to see better|
a boat|to travel on the water|
a bridge|to cross a river or a road|
a coat|to stay warm outside|
a comb|to make their hair neat|
a phone|to talk to people who are far away|
a shovel|to dig|
a kettle|to boil water|
a mirror|to see themselves|
a window|to let in light and fresh air|
a thermometer|to measure how warm something is|
a ruler|to measure how long something is|
a telescope|to look at the moon and the stars|
""")

# category | question noun | members
CATEGORIES = _rows("""
fruits|apples, bananas, pears, oranges, grapes, cherries, plums, strawberries, peaches, lemons
vegetables|carrots, beans, peas, potatoes, onions, cabbage, spinach, broccoli, beets
colors|red, blue, green, yellow, orange, purple, brown, pink, white, black
animals|cats, dogs, horses, foxes, bears, rabbits, frogs, lions, owls, elephants
farm animals|cows, pigs, sheep, hens, goats, horses, ducks
wild animals|lions, bears, wolves, foxes, deer, elephants, giraffes
birds|owls, ducks, robins, swans, penguins, crows, sparrows, eagles
insects|bees, ants, butterflies, beetles, flies, crickets, ladybugs
shapes|circles, squares, triangles, rectangles, stars, ovals
seasons|spring, summer, autumn, winter
days of the week|Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday
months|January, February, March, April, May, June, July, August, September, October, November, December
tools|hammers, saws, screwdrivers, shovels, rakes, drills
musical instruments|pianos, drums, flutes, guitars, violins, trumpets
things to wear|hats, coats, shoes, socks, scarves, shirts, gloves
things in a kitchen|pots, spoons, plates, cups, knives, stoves, bowls
things in a classroom|desks, books, pencils, chairs, boards, rulers
things that fly|birds, planes, bees, kites, butterflies, bats
things that live in the sea|whales, crabs, fish, dolphins, octopuses, sharks
drinks|water, milk, tea, juice, lemonade, cocoa
trees|oaks, pines, maples, birches, willows, apple trees
flowers|roses, tulips, daisies, sunflowers, lilies, violets
jobs|teachers, bakers, doctors, farmers, painters, nurses, pilots
parts of the body|the head, the arms, the legs, the hands, the feet, the nose, the ears
things that are round|balls, wheels, coins, plates, oranges, the moon
things that are hot|the sun, fire, boiling water, fresh soup, an oven
things that are cold|ice, snow, ice cream, winter wind
sports|swimming, running, tennis, soccer, skating, basketball
planets|Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune
""")

RHYMES = [
    r.split()
    for r in """cat hat bat mat rat
dog log frog fog
sun run fun bun
moon spoon soon noon
tree bee sea knee
star car jar far
house mouse
cake lake snake make
night light bright kite
ball tall wall fall
ring sing king wing
boat coat goat float
bear chair pear hair
day play say way
book look cook hook
bed red head bread
rain train plane chain
snow slow grow blow
fish dish wish
box fox socks
duck truck luck
hill will pill still
nose rose toes close
bell shell well tell
sock rock clock lock
sheep sleep deep keep""".splitlines()
]

DEFINITIONS = _rows("""
a friend|a person you like and trust|Friends help each other and have fun together.
a family|a group of people who care for each other|
a school|a place where people learn|Teachers help children to read, write, and count there.
a teacher|a person who helps others to learn|
a doctor|a person who helps sick people to get well|
a baker|a person who makes bread and cakes|
a farmer|a person who grows food and looks after animals|
a library|a place full of books|You can read there or borrow books.
a museum|a place where you can look at old, rare, or beautiful things|
an island|land with water all around it|
a desert|a very dry place with little rain|Some deserts are hot and sandy.
a forest|a large place with many trees|
a volcano|a mountain that can let out hot melted rock|
a river|water that flows across the land|
a cloud|a large group of tiny drops of water in the sky|
a shadow|the dark shape that you see when something blocks the light|
an echo|a sound that comes back to you|You can hear one in a cave or in the mountains.
a dream|a story or a picture in your mind while you sleep|
a circle|a round shape with no corners|
a square|a shape with four equal sides and four corners|
a triangle|a shape with three sides and three corners|
a promise|something that you say you will surely do|
a recipe|a list of steps for making a dish|
a secret|something that only a few people know|
a seed|the beginning of a new plant|
a nest|a home that a bird makes for its eggs|
a hive|a home for bees|
a map|a drawing that shows where places are|
a dictionary|a book that tells you what words mean|
a robot|a machine that can do some work by itself|
a computer|a machine that works with information|
a poem|a short piece of writing, often with rhythm or rhyme|
a joke|something short and funny that makes people laugh|
a market|a place where people buy and sell things|
a bakery|a shop that sells bread and cakes|
a gift|something you give to someone to make them happy|
a neighbor|a person who lives near you|
a planet|a large round body that travels around a star|
a magnet|a thing that pulls iron and steel toward it|
a habit|something you do again and again without thinking much|
an insect|a small animal with six legs|Ants and bees are insects.
a vegetable|a plant, or a part of a plant, that people eat|
patience|being able to wait calmly|
courage|doing what is right even when you are afraid|
kindness|being gentle and helpful to others|
a language model|a computer program that has learned from text and writes new text, one word after the other|I am one.
""")

WHYS = _rows("""
do we sleep|We sleep because the body and the mind need rest.|Sleep helps us to grow, to learn, and to stay healthy.
does it rain|It rains because water drops in the clouds get too heavy and fall.|The water came from seas and lakes
   before it rose into the air.
is the sky blue|The sky is blue because the air scatters blue light more than other colors.|At sunset, the light takes
   a longer way through the air, so we see more red.
do we eat|We eat because food gives the body energy.|Food also helps us to grow and to stay well.
do we drink water|We drink water because the body needs it to work.|We lose water when we sweat and breathe.
do birds build nests|Birds build nests to have a safe place for their eggs.|Later the chicks live there until they can
   fly.
do leaves fall in autumn|Many trees drop their leaves in autumn to save water in the cold months.|In spring, they grow
   new ones.
do bees like flowers|Bees like flowers because they find sweet nectar there.|They make honey from it.
do we brush our teeth|We brush our teeth to keep them clean and healthy.|Bits of food can make holes in teeth.
do cats purr|Cats often purr because they are calm and happy.|Sometimes they also purr when they are not well.
do dogs wag their tails|Dogs often wag their tails because they are happy or excited.|They talk to each other with
   their tails.
is the sea salty|The sea is salty because rivers carry salt from the rocks into it.|The water rises into the air, but
   the salt stays behind.
does ice melt|Ice melts because it gets warm.|Then it turns into water.
do we have seasons|We have seasons because the Earth is tilted while it travels around the sun.|In summer, our part of
   the Earth leans toward the sun.
is it dark at night|It is dark at night because our side of the Earth is turned away from the sun.|On the other side,
   it is day.
do we wear coats|We wear coats to stay warm when it is cold outside.|A thick coat keeps the warm air close to the body.
do we wash our hands|We wash our hands to get rid of dirt and germs.|Germs can make us sick.
do plants need sun|Plants need sun because they use its light to make their food.|Without light, most plants grow weak.
do ducks not get wet|Ducks stay dry because their feathers are covered with a kind of oil.|The water rolls off in
   little drops.
do we yawn|We do not know exactly why we yawn.|People often yawn when they are tired or bored.
do people laugh|People laugh because something is funny or because they are happy.|Laughing together helps people to
   become friends.
do people cry|People cry because they are sad, hurt, or sometimes very happy.|Crying can help us to feel better.
do birds fly south|Some birds fly south because there is more food in warm places.|In spring, they come back.
do boats float|Boats float because they push water away, and the water pushes back.|A boat is full of air, so it is
   light for its size.
does the moon shine|The moon shines because it reflects the light of the sun.|It does not make any light of its own.
do giraffes have long necks|Long necks help giraffes to reach leaves at the top of tall trees.|They can also see far.
do rabbits have long ears|Long ears help rabbits to hear danger from far away.|They also help them to stay cool.
do we say thank you|We say thank you to show that we are glad about what someone did.|It is a kind and polite thing to
   do.
should I share|It is good to share because it makes others happy.|Often they will share with you, too.
do we go to school|We go to school to learn things and to meet other children.|At school, you learn to read, write,
   and count.
do stars look small|Stars look small because they are very far away.|Really, they are huge.
do we need trees|We need trees because they clean the air and give us wood, fruit, and shade.|Many animals also live
   in them.
""")

HOWTOS = _rows("""
make tea|First, boil some water. Then pour it over a tea bag in a cup. Wait a few minutes, and take the tea bag out.
   Be careful, because the water is hot.
plant a seed|First, fill a pot with earth. Make a small hole and put the seed in. Cover it and give it some water.
   Then put the pot in a sunny place.
brush my teeth|Put a little toothpaste on your brush. Brush all your teeth gently for about two minutes. Then spit and
   rinse.
wash my hands|Wet your hands with water. Rub them with soap for about twenty seconds. Then rinse them and dry them
   with a towel.
make a sandwich|Take two slices of bread. Put some cheese or tomato between them. Then cut the sandwich in two.
boil an egg|Put the egg in boiling water. Wait about eight minutes. Then cool it in cold water and peel it.
make toast|Put a slice of bread in the toaster. Wait until it is brown. Then spread some butter on it.
build a snowman|Roll a big ball of snow for the bottom. Put a smaller ball on top, and then one more for the head. Use
   stones for the eyes and a carrot for the nose.
draw a house|Draw a square for the walls. Draw a triangle on top for the roof. Then add a door and some windows.
draw a cat|Draw a circle for the head and a bigger one for the body. Add two pointed ears, two eyes, and whiskers.
   Then add a long tail.
make a friend|Say hello and smile. Ask the other person what they like. Then listen, and play or talk together.
fall asleep|Make your room dark and quiet. Lie down and breathe slowly. Think of something calm and pleasant.
cross the street|Stop at the side of the street. Look left, right, and left again. When no car is coming, walk across.
water a plant|Touch the earth with your finger. If it is dry, pour a little water on it. Do not use too much.
make lemonade|Squeeze two lemons into a jug. Add cold water and a little sugar. Stir it well and taste it.
make a fruit salad|Wash some fruit and cut it into small pieces. Put the pieces in a bowl and mix them. A little
   orange juice makes it even better.
clean my room|Start with one corner. Pick up the things on the floor and put each one in its place. Then sweep the
   floor.
say sorry|Look at the person and speak clearly. Say what you did wrong and that you are sorry. Then try to make it
   better.
calm down|Sit down and breathe in slowly. Then breathe out even more slowly. Do this five times.
learn a new word|Say the word aloud a few times. Find out what it means. Then use it in a sentence of your own.
write a letter|Start with a greeting, such as "Dear Anna." Then write what you want to say. Finish with your name.
fold a paper in half|Lay the paper flat. Bring one edge to the other edge. Then press along the fold.
take care of a cat|Give it food and fresh water every day. Keep its box clean. Play with it, and let it rest when it
   wants to.
take care of a dog|Give it food and fresh water. Take it for a walk every day. Be kind and patient with it.
get better at reading|Read a little every day. Choose books that you like. When you find a hard word, sound it out
   slowly.
""")

YESNO = _rows("""
Can fish swim|Yes, fish can swim.|They use their fins and tails.
Can penguins fly|No, penguins cannot fly.|But they swim very well.
Do cows give milk|Yes, cows give milk.|
Do hens lay eggs|Yes, hens lay eggs.|
Is the sun hot|Yes, the sun is very hot.|
Is ice cold|Yes, ice is cold.|It is frozen water.
Is fire cold|No, fire is hot.|You should not touch it.
Can dogs talk|No, dogs cannot talk as people do.|But they bark and wag their tails.
Can elephants fly|No, elephants cannot fly.|They are big and have no wings.
Is a spider an insect|No, a spider is not an insect.|It has eight legs, and insects have six.
Is a whale a fish|No, a whale is not a fish.|It breathes air.
Is a tomato red|Yes, a ripe tomato is usually red.|
Do birds have feathers|Yes, all birds have feathers.|
Do cats have six legs|No, cats have four legs.|
Is the moon a star|No, the moon is not a star.|It is a ball of rock that travels around the Earth.
Is the sun a star|Yes, the sun is a star.|It is the star that is closest to us.
Does a week have seven days|Yes, a week has seven days.|
Does a year have ten months|No, a year has twelve months.|
Is a mouse bigger than an elephant|No, an elephant is much bigger than a mouse.|
Is a horse bigger than a cat|Yes, a horse is bigger than a cat.|
Do plants need water|Yes, plants need water.|They also need light.
Do rabbits eat meat|No, rabbits eat plants.|They like grass and leaves.
Is snow black|No, snow is white.|
Is sugar sweet|Yes, sugar is sweet.|
Is a lemon sweet|No, a lemon is sour.|
Can you eat a stone|No, you cannot eat a stone.|It would hurt your teeth.
Do trees have roots|Yes, trees have roots.|The roots drink water from the ground.
Do bees make honey|Yes, honey bees make honey.|They make it from the nectar of flowers.
Is winter colder than summer|Yes, winter is colder than summer.|
Do owls sleep at night|No, most owls are awake at night.|They sleep during the day.
Can a frog jump|Yes, a frog can jump.|It has long back legs.
Does a triangle have four sides|No, a triangle has three sides.|
Is a circle round|Yes, a circle is round.|
Is bread made from flour|Yes, bread is made from flour and water.|
Do snakes have legs|No, snakes do not have legs.|They slide along the ground.
Is water wet|Yes, water makes things wet.|
Do people need sleep|Yes, people need sleep.|It helps them to stay well.
Is wood heavier than a feather|A piece of wood is usually heavier than a feather.|
Do horses eat hay|Yes, horses eat hay.|They also eat grass and oats.
Can a bicycle fly|No, a bicycle cannot fly.|It rolls on two wheels.
""")

FINISH = _rows("""
The sky is|blue
Grass is|green
Snow is cold, and fire is|hot
Birds can|fly
Fish can|swim
A baby dog is called a|puppy
A baby cat is called a|kitten
A baby cow is called a|calf
One, two, three,|four
Monday, Tuesday,|Wednesday
Spring, summer, autumn,|winter
The opposite of big is|small
The opposite of up is|down
In the morning, the sun comes|up
We hear with our|ears
We see with our|eyes
We smell with our|nose
Bees make|honey
Cows give|milk
Hens lay|eggs
We sleep in a|bed
When it rains, the ground gets|wet
In winter, we wear a warm|coat
A triangle has three|sides
Lemons are|sour
Sugar is|sweet
At night, we can see the moon and the|stars
We brush our|teeth
We read|books
A bird builds a|nest
A spider has eight|legs
We open the door with a|key
""")

SHAPES = _rows("""
triangle|three|three
square|four|four
rectangle|four|four
pentagon|five|five
hexagon|six|six
octagon|eight|eight
""")

NUMBERS = _names("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty""")
DAYS = _names("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _names("January February March April May June July August September October November December")

# Larger than: each is bigger than all before it.
BY_SIZE = _names("ant bee mouse rabbit cat sheep pony cow elephant whale")
FASTER = [
    ("car", "bicycle"),
    ("train", "bicycle"),
    ("horse", "turtle"),
    ("rabbit", "snail"),
    ("plane", "car"),
    ("dog", "turtle"),
    ("bird", "snail"),
    ("fox", "hedgehog"),
    ("cat", "snail"),
    ("horse", "duck"),
]

UNKNOWN = _rows("""
What will the weather be tomorrow|I cannot know that. I have no way to look at the weather.
What is the weather like today|I cannot see outside, so I do not know. You could look out of the window.
What time is it|I do not have a clock, so I cannot tell you the time.
What day is it today|I cannot see a calendar, so I do not know what day it is.
What is my name|I do not know your name. You can tell me if you like.
How old am I|I do not know how old you are. Would you like to tell me?
Where do I live|I do not know where you live.
What did I eat for breakfast|I cannot know that. Was it something good?
Who won the game last night|I do not know. I cannot read the news.
What is in my pocket|I cannot see your pocket, so I do not know. Is it something nice?
What is the news today|I cannot read the news, so I do not know.
How many people are in this room|I cannot see, so I do not know.
What am I thinking|I cannot read minds. You can tell me if you like.
What will happen next year|Nobody can know that for sure, and I cannot either.
Can you see me|No, I cannot see. I can only read what you write.
Can you hear me|No, I cannot hear. I can only read what you write.
What is my dog's name|I do not know your dog's name. What is it?
Where are my keys|I do not know where your keys are. Try to remember where you had them last.
Can you call my friend|No, I cannot make calls. I can only write.
What is my favorite color|I do not know your favorite color. What is it?
Who is my teacher|I do not know who your teacher is.
Will I be famous|I cannot see the future, so I do not know.
How tall am I|I cannot see you, so I do not know how tall you are.
Can you open the door|No, I cannot move things. I can only write.
Can you buy me a toy|No, I cannot buy things. I can only write.
How many stars are there|There are too many stars to count, and I do not know the exact number.
Can you translate this book|No, that is too hard for me. I am only a very small model.
What is 4839 times 2817|That is too hard for me. A calculator would be better.
""")
