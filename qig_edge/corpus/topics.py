"""Plain facts by topic: one true sentence a line, the first one introduces the topic."""

_TEXT = """
# cat | cats | a cat
Cats are popular pets that live with people all over the world.
They have soft fur, sharp claws, and long whiskers.
Cats can see well when there is only a little light.
They often sleep for more than twelve hours a day.
A cat purrs when it feels calm and happy.
A baby cat is called a kitten.
Cats clean their fur with their rough tongues.
They like to chase small things that move.
# dog | dogs | a dog
Dogs are friendly animals that have lived with people for thousands of years.
They have a very good sense of smell.
A dog wags its tail when it is happy or excited.
Dogs need food, water, and a walk every day.
Some dogs help people who cannot see.
Some dogs guard houses or watch over sheep.
A baby dog is called a puppy.
Dogs bark to warn people or to get attention.
# cow | cows | a cow
Cows are large farm animals that give us milk.
They eat grass and hay.
A cow chews its food for a long time.
Cows say moo.
A baby cow is called a calf.
Butter, cheese, and yogurt are made from milk.
Cows live together in a group called a herd.
# horse | horses | a horse
Horses are big, strong animals that can run fast.
They eat grass, hay, and oats.
A horse has hooves on its feet and a mane on its neck.
Horses can sleep while they stand.
A baby horse is called a foal.
People ride horses and let them pull carts.
Horses like to live in groups.
# sheep | sheep | a sheep
Sheep are farm animals with thick, woolly coats.
We use their wool to make warm clothes.
Farmers cut the wool once a year, and it grows back.
Sheep eat grass and stay together in a flock.
A baby sheep is called a lamb.
Sheep say baa.
# hen | chickens | a hen
Chickens are farm birds that lay eggs.
A hen can lay almost one egg a day.
Chickens eat grain, seeds, and small insects.
A baby chicken is called a chick.
Chicks are yellow and fluffy when they are young.
Chickens have wings, but they cannot fly far.
# duck | ducks | a duck
Ducks are birds that live near water.
They have webbed feet, which help them to swim.
Their feathers keep the water out.
Ducks eat plants, seeds, and small water animals.
A baby duck is called a duckling.
Ducklings follow their mother in a line.
Ducks say quack.
# owl | owls | an owl
Owls are birds that are mostly awake at night.
They have large eyes that look straight ahead.
An owl can turn its head very far to the side.
Owls fly almost without a sound.
They catch mice and other small animals.
Many owls live in hollow trees.
# rabbit | rabbits | a rabbit
Rabbits are small animals with long ears and short tails.
They eat grass, leaves, and other plants.
Rabbits hop because their back legs are long and strong.
Many rabbits dig holes called burrows.
Their front teeth never stop growing.
A rabbit thumps its foot to warn others.
# fox | foxes | a fox
Foxes are wild animals that look a little like dogs.
Many foxes have red fur and a long bushy tail.
They live in a home called a den.
Foxes eat mice, berries, insects, and many other things.
They often come out in the evening.
A baby fox is called a cub or a kit.
# bear | bears | a bear
Bears are large, strong animals with thick fur.
Many bears sleep through most of the winter.
Brown bears eat berries, roots, and fish.
Bears can climb and swim.
A baby bear is called a cub.
Polar bears live in the cold north and have white fur.
# elephant | elephants | an elephant
Elephants are the largest animals that live on land.
They have a long trunk, which is a kind of nose.
An elephant uses its trunk to smell, drink, and pick things up.
Elephants eat grass, leaves, and fruit.
Their big ears help them to stay cool.
A baby elephant is called a calf.
Elephants live in families led by an old female.
# lion | lions | a lion
Lions are big wild cats.
They live together in a group called a pride.
A male lion has a thick mane around its head.
A lion can roar so loudly that you hear it from far away.
Lions rest for most of the day.
A baby lion is called a cub.
# giraffe | giraffes | a giraffe
Giraffes are the tallest animals in the world.
They have very long necks and long legs.
Giraffes eat leaves from the tops of trees.
Their fur has brown patches.
A giraffe has a long, dark tongue.
They sleep only a little each day.
# penguin | penguins | a penguin
Penguins are birds that cannot fly.
They are very good swimmers.
Penguins use their wings like paddles.
Many penguins live where it is very cold.
They stand close together to stay warm.
Penguins eat fish.
# whale | whales | a whale
Whales are very large animals that live in the sea.
A whale is not a fish, because it breathes air.
The blue whale is the largest animal on Earth.
Whales come up to the surface to breathe.
Some whales sing long songs under the water.
A baby whale is called a calf.
# frog | frogs | a frog
Frogs are small animals that live near water.
They have long back legs and can jump far.
A frog catches insects with its sticky tongue.
Baby frogs are called tadpoles, and they have tails.
Tadpoles live in water and grow legs as they get older.
Frogs lay their eggs in water.
# bee | bees | a bee
Bees are small flying insects.
They live together in a hive.
Bees visit flowers to collect sweet nectar.
Honey bees make honey from nectar.
Bees carry pollen from flower to flower, which helps plants to grow fruit.
Every hive has one queen, and she lays the eggs.
A honey bee tells other bees where to find flowers by dancing.
# ant | ants | an ant
Ants are tiny insects that live in large groups.
They work together to find food and build their nest.
An ant can carry things that are heavier than itself.
Ants have six legs.
They leave a trail of smell so that other ants can follow.
Most ants live under the ground.
# spider | spiders | a spider
Spiders are small animals with eight legs.
They are not insects, because insects have six legs.
Many spiders make webs to catch flies.
The thread of a web is thin but very strong.
Most spiders do not hurt people.
# butterfly | butterflies | a butterfly
Butterflies are insects with four large wings.
A butterfly begins its life as an egg.
A caterpillar comes out of the egg and eats leaves.
The caterpillar makes a hard case, and after some time a butterfly comes out of it.
Many butterflies fly by day and rest at night.
Butterflies drink nectar from flowers.
# fish | fish | a fish
Fish are animals that live in water.
They breathe through gills.
Most fish are covered with scales.
Fish use their fins to swim.
Some fish live in the salty sea, and others live in rivers and lakes.
Many fish swim in groups called schools.
# turtle | turtles | a turtle
Turtles are animals with a hard shell.
The shell protects them from danger.
Many turtles can pull their heads inside their shells.
Turtles lay their eggs on land.
Some turtles live for a very long time.
Sea turtles have flippers and swim well.
# snail | snails | a snail
Snails are small, slow animals with a shell on their backs.
A snail moves on one soft foot.
Snails leave a shiny trail of slime behind them.
Snails like wet weather.
They eat leaves and other soft plants.
When it is dry, a snail hides inside its shell.
# squirrel | squirrels | a squirrel
Squirrels are small animals with bushy tails.
They climb trees and jump from branch to branch.
Squirrels eat nuts, seeds, and fruit.
In the autumn, they hide nuts for the winter.
Sometimes a squirrel forgets a nut, and a new tree grows.
# mouse | mice | a mouse
Mice are very small animals with long tails.
They have round ears and a good sense of hearing.
Mice eat seeds, grain, and fruit.
They can squeeze through very small holes.
Cats and owls like to catch mice.
# hedgehog | hedgehogs | a hedgehog
Hedgehogs are small animals covered with spines.
A hedgehog rolls into a ball when it is afraid.
Hedgehogs eat insects, worms, and snails.
They sleep during the day and come out at night.
In many places, hedgehogs sleep through the winter.
# bird | birds | a bird
Birds are animals with feathers and two wings.
All birds lay eggs.
Many birds build nests from grass and twigs.
Most birds can fly, but some cannot.
Birds have beaks instead of teeth.
Some birds fly to warm places in the winter.
Many birds sing in the early morning.
# tree | trees | a tree
Trees are tall plants with a trunk made of wood.
The roots of a tree drink water from the ground.
Leaves use sunlight to make food for the tree.
Trees give us fruit, nuts, wood, and shade.
Many birds and animals live in trees.
Some trees lose their leaves in the autumn.
You can tell the age of a cut tree by counting its rings.
# flower | flowers | a flower
Flowers are the colorful parts of many plants.
They need light, water, and earth to grow.
Their bright colors and sweet smells attract bees and butterflies.
After a flower fades, seeds often grow in its place.
Some flowers open in the morning and close at night.
People give flowers as presents.
# seed | seeds | a seed
A seed is the beginning of a new plant.
Inside each seed there is a tiny plant and some food.
A seed needs water and warmth to start growing.
First a small root grows down, and then a stem grows up.
Some seeds travel with the wind.
Some seeds are carried by birds and animals.
# apple | apples | an apple
Apples are round fruits that grow on trees.
They can be red, green, or yellow.
Apples are sweet or a little sour.
There are small brown seeds in the middle.
People eat apples fresh or bake them in pies.
Apple juice is made by pressing apples.
Many apples are picked in the autumn.
# banana | bananas | a banana
Bananas are long, curved fruits that grow in warm places.
They grow together in big bunches.
A banana is green at first and turns yellow when it is ripe.
You peel a banana before you eat it.
Bananas are soft and sweet.
# carrot | carrots | a carrot
Carrots are vegetables that grow under the ground.
Most carrots are orange.
The part that we eat is the root.
Carrots can be eaten raw or cooked.
Their green leaves grow above the ground.
# bread | bread | bread
Bread is a food made from flour and water.
Many kinds of bread also need yeast and salt.
The yeast makes the dough rise.
Bread is baked in a hot oven.
People in many countries eat bread every day.
Fresh bread smells wonderful.
# milk | milk | milk
Milk is a white drink that comes from cows and other animals.
It helps bones and teeth to grow strong.
Butter, cheese, and yogurt are made from milk.
Milk should be kept cold so that it stays fresh.
Some people drink milk made from oats or soybeans.
# egg | eggs | an egg
Eggs are laid by hens and other birds.
An egg has a hard shell.
Inside there is a clear part, called the white, and a yellow part, called the yolk.
You can boil eggs or fry them.
Eggs are used in cakes and pancakes.
# rice | rice | rice
Rice is a grain that people eat all over the world.
It grows in warm places, often in fields full of water.
Rice is cooked in hot water until it is soft.
The grains can be white, brown, red, or black.
People eat rice with vegetables, beans, or fish.
# water | water | water
Water is something that all living things need.
We drink it, wash with it, and cook with it.
Water freezes and becomes ice when it is very cold.
When it boils, it turns into steam.
Most of the Earth is covered with water.
Sea water is salty, and we cannot drink it.
# rain | rain | rain
Rain is water that falls from clouds.
The sun warms the water in seas and lakes, and some of it rises into the air.
Clouds are made of many tiny drops of water.
When the drops in a cloud get heavy, they fall as rain.
Plants and animals need rain.
After the rain there are often puddles on the ground.
# snow | snow | snow
Snow is made of tiny crystals of ice.
It falls from clouds when the air is very cold.
Most snowflakes have six sides.
Children like to build snowmen and ride on sleds.
Snow melts and turns into water when it gets warm.
# wind | wind | the wind
Wind is air that moves.
You cannot see the wind, but you can feel it.
It can be soft, or it can be very strong.
Wind moves clouds, sails, and kites.
Windmills use the wind to make power.
The wind also carries seeds to new places.
# rainbow | rainbows | a rainbow
A rainbow appears when the sun shines on drops of rain.
The drops split the light into many colors.
Red is on the outside, and violet is on the inside.
To see a rainbow, you stand with the sun behind you.
A rainbow is gone when the rain or the sun goes away.
# sun | the sun | the sun
The sun is a star in the middle of our solar system.
It gives us light and warmth.
Plants need sunlight to grow.
The sun is much bigger than the Earth.
It rises in the east and sets in the west.
You should never look straight at the sun.
# moon | the moon | the moon
The moon is a ball of rock that travels around the Earth.
It takes about a month to go around once.
The moon does not make its own light.
It shines because the sun shines on it.
Sometimes it looks round, and sometimes it looks like a thin curve.
People have walked on the moon.
There is no air on the moon.
# star | stars | a star
Stars are giant balls of hot, glowing gas.
They look small because they are very far away.
The sun is the star that is closest to us.
We see stars best on a clear, dark night.
Groups of stars can look like pictures in the sky.
# earth | the Earth | the Earth
The Earth is the planet that we live on.
It is round like a ball.
The Earth turns around once each day, which gives us day and night.
It takes one year to travel around the sun.
Most of its surface is covered with water.
The air around it lets us breathe.
# sea | the sea | the sea
The sea is a very large body of salt water.
Fish, whales, and crabs live in it.
Waves are mostly made by the wind.
The water goes up and down each day, and this is called the tide.
Ships travel across the sea.
Some parts of the sea are very deep and dark.
# river | rivers | a river
A river is water that flows across the land.
Many rivers begin as small streams in the mountains.
Most rivers flow to the sea or into a lake.
Fish, frogs, and otters live in rivers.
People build bridges to cross rivers.
# mountain | mountains | a mountain
Mountains are very high parts of the land.
It is colder at the top of a mountain than at the bottom.
Some mountains have snow on them all year.
Goats can climb steep mountains.
People like to walk and climb in the mountains.
# forest | forests | a forest
A forest is a large place with many trees.
Many animals live there, such as deer, foxes, and owls.
The air in a forest is often cool and fresh.
Mushrooms and ferns grow in the shade of the trees.
In the autumn, the ground is covered with leaves.
# spring | spring | spring
Spring is the season that comes after winter.
The days grow longer and warmer.
Flowers bloom, and new leaves grow on the trees.
Birds build nests and lay eggs.
Many baby animals are born in spring.
Farmers and gardeners plant seeds.
# summer | summer | summer
Summer is the warmest season of the year.
The days are long, and the nights are short.
Many people swim or play outside.
Berries and tomatoes grow ripe.
It is good to drink a lot of water when it is hot.
A hat protects your head from the sun.
# autumn | autumn | autumn
Autumn is the season between summer and winter.
It is also called fall.
The leaves of many trees turn red, orange, and yellow.
Apples and pumpkins are ready to be picked.
Some birds fly away to warmer places.
The days grow shorter and cooler.
# winter | winter | winter
Winter is the coldest season of the year.
The days are short, and the nights are long.
In many places, it snows.
People wear coats, scarves, and gloves.
Some animals sleep through the winter.
Many trees have no leaves.
# family | families | a family
A family is a group of people who care for each other.
Some families are big, and some are small.
Parents take care of their children.
Grandparents are the parents of your parents.
Families often eat together and help each other.
Brothers and sisters may quarrel, but they can make up again.
# friend | friends | a friend
A friend is someone you like and trust.
Friends play together, talk, and share things.
A good friend listens when you are sad.
Friends sometimes disagree, and that is all right.
Saying sorry can help after a quarrel.
You can make a new friend by saying hello.
# heart | the heart | the heart
The heart is a strong muscle inside your chest.
It pumps blood through your whole body.
Your heart beats all day and all night.
It beats faster when you run.
You can feel your heartbeat with your hand.
Exercise helps to keep it healthy.
# teeth | teeth | teeth
Teeth help us to bite and chew our food.
Children have a first set of teeth called baby teeth.
The baby teeth fall out after some years, and bigger teeth grow.
It is good to brush your teeth twice a day.
Too much sugar is bad for teeth.
A dentist is a doctor for teeth.
# hands | hands | hands
Most people have two hands with five fingers each.
We use our hands to hold, write, and build.
The thumb helps us to grip things.
Washing your hands with soap keeps you healthy.
Some people write with the left hand, and others write with the right.
# eyes | eyes | eyes
Eyes let us see the world.
They can be brown, blue, green, or gray.
Eyelids and eyelashes protect the eyes.
When we blink, our eyes stay clean and wet.
Some people wear glasses to see better.
# sleep | sleep | sleep
Sleep is the time when the body and the mind rest.
Children need more sleep than adults.
While we sleep, we often dream.
Sleep helps us to learn and to grow.
A dark and quiet room makes it easier to fall asleep.
# hammer | hammers | a hammer
A hammer is a tool with a handle and a heavy head.
People use it to hit nails into wood.
Some hammers can also pull nails out.
You must watch your fingers when you use a hammer.
Carpenters use hammers every day.
# wheel | wheels | a wheel
A wheel is a round thing that turns.
Wheels make it easier to move heavy things.
Cars, bicycles, and trains have wheels.
A bicycle has two wheels, and most cars have four.
People have used wheels for thousands of years.
# book | books | a book
A book is a set of pages with words or pictures.
Some books tell stories, and others teach us things.
You can borrow books from a library.
The person who writes a book is called an author.
Reading every day helps you to learn new words.
# clock | clocks | a clock
A clock shows us what time it is.
Many clocks have two hands and twelve numbers.
The short hand shows the hour, and the long hand shows the minute.
There are sixty minutes in an hour.
Some clocks show only numbers.
# bicycle | bicycles | a bicycle
A bicycle has two wheels, two pedals, and a seat.
You push the pedals to make it go.
The brakes help you to slow down and stop.
A helmet protects your head.
Riding a bicycle is good exercise.
# train | trains | a train
Trains travel on long metal rails.
They carry people and goods from place to place.
Many trains stop at stations to let people get on and off.
Some trains are very fast.
Many trains run on electricity.
# computer | computers | a computer
A computer is a machine that works with information.
It follows lists of steps called programs.
People use computers to write, draw, count, and learn.
Some computers are as small as a playing card.
A computer needs electricity to work.
# library | libraries | a library
A library is a place full of books.
You can read there or borrow books to take home.
It is polite to be quiet in a library.
A librarian helps people to find what they need.
Many libraries have stories for children.
# garden | gardens | a garden
A garden is a place where people grow plants.
Some gardens have flowers, and others have vegetables.
Plants in a garden need water and sunlight.
Worms keep the earth loose and healthy.
Gardeners pull out weeds so that the other plants have room.
"""


def _parse() -> dict[str, dict]:
    topics: dict[str, dict] = {}
    key = ""
    for line in _TEXT.strip().splitlines():
        if line.startswith("#"):
            key, plural, phrase = (x.strip() for x in line[1:].split("|"))
            topics[key] = {"name": plural, "phrase": phrase, "lines": []}
        else:
            topics[key]["lines"].append(line.strip())
    return topics


TOPICS = _parse()
