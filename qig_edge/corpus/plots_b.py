"""Plots, second part: helpers, quarrels, weather, fears and small adventures."""

from qig_edge.corpus.plots import collection

PLOTS, plot = collection()


plot(
    "secret",
    "help share friend",
    "The Secret Helper",
    "a secret helper",
    """
{day}, {h} woke up and found {deed1}. ["Who did this?" {h} wondered.|"How strange!" said {h}.|{h} rubbed {his} eyes.]
The next morning {deed2}. [{h} looked everywhere, but {he} saw no one.|There was not even a footprint.]

"[I must find out who it is|Tonight I will stay awake]," said {h}. The first night, {he} [fell asleep in {his}
chair|closed {his} eyes for just a moment, and then it was morning]. And again, [the helper had come and gone|the work
was done]. The second night, {he} [drank cold water to stay awake|tied a little bell to the gate|hid behind the
curtain]. [Late in the night|Just before sunrise], {he} heard [soft steps|a small noise|the gate creak].

It was {fi}! "[So it was you!|You are my secret helper!]" said {h}. {f} [turned red|looked at {fhis} feet|smiled
shyly]. "Last winter you {past}," said {f}. "[I wanted to do something for you|I wanted to say thank you], but I did
not know how to say it." {h} [was deeply touched|laughed and hugged {f}|felt warm all over]. "[Come in and have
breakfast with me|Next time, stay for breakfast]," said {h}.
""",
    rows={
        "deed1": [
            "a pile of firewood by the door",
            "the whole path swept clean",
            "a basket of berries on the step",
            "the garden watered",
        ],
        "deed2": [
            "the fence was mended",
            "there was fresh bread on the table",
            "the weeds were gone",
            "all the windows were clean",
        ],
        "past": [
            "gave me a warm scarf",
            "shared your food with me",
            "let me sit by your fire",
            "helped me when I was sick",
        ],
    },
)

plot(
    "market",
    "help try",
    "Market Day",
    "market day",
    """
{day}, {h} went to the market with [a few coins in {his} pocket|three coins and a big basket]. {he} needed to buy
{a1}, {a2}, and {a3}. The market was [loud and full of colors|busy and bright|full of good smells]. [There were
baskets of fruit, piles of cheese, and jars of honey.|A man sold balloons, and a woman played the violin.]

[{h} looked here and looked there|{h} stopped at every stall], and soon {he} [forgot what {he} had come for|could not
remember the list]. "Was it {w1}?" {he} asked {himself}. "No. Was it {w2}? No, that was not it." {h} felt {bad}. [{he}
walked around the market twice.|{he} sat down on a box to think.]

"[Can I help you|You look lost]?" {said2} {fi}, who was [selling flowers|buying apples|carrying a basket of eggs]. {h}
told {fhim} about the list. "[What will you do with the things?|What did you want to make?]" asked {f}. "We want to
make {goal}," {h} answered. "[Then think of what goes into it|Then it is easy]," said {f}. "You need {a1}, {a2}, and
{a3}."

"[That is it!|Yes, that was the list!]" cried {h}. {he} bought everything and [still had one coin left|put it all in
the basket]. [With the last coin, {he} bought two sweet buns, one for {f} and one for {himself}.|"Now I will write a
list next time," said {h}.]
""",
    rows={
        "said2": ["asked"],
        "a1 a2 a3 goal": [
            "flour; eggs; milk; pancakes",
            "apples; sugar; butter; an apple cake",
            "carrots; potatoes; onions; soup",
            "bread; cheese; tomatoes; sandwiches",
            "bananas; oranges; grapes; a fruit salad",
            "noodles; tomatoes; cheese; a big pot of noodles",
            "rice; beans; peppers; rice and beans",
        ],
        "w1 w2": ["a hat; a pair of shoes", "a broom; a blue vase", "fish; a bag of nuts", "candles; a ball of string"],
    },
)

plot(
    "stuck",
    "help try",
    "The {obj} in the Tree",
    "a {obj} in a tree",
    """
{day}, {h} was [playing outside|running in the wind|having fun] with a {obj}. [Suddenly|Then], a strong wind [came and
blew it up|carried it up] into a tall tree. It [hung from|was stuck on] a high branch. "[Come down!|Oh no! My {obj}!]"
called {h}.

{h} jumped as high as {he} could, but [the branch was much too high|{he} could not reach it]. {he} shook the tree, but
[only leaves came down|only an acorn fell on {his} head]. {he} [threw a stick, but the stick got stuck too. Now there
were two things in the tree.|poked at it with a stick, but the stick was too short. {h} sat down and sighed.]

[Along came {fi}.|{fi} heard the noise and came over.] "[What are you looking at|Why are you staring at that tree]?"
asked {f}. {h} pointed up. {f} [thought for a while|looked up and scratched {fhis} head]. "I have an idea," said {f}.
{plan}

[The {obj} came down|Down came the {obj}], right into {h}'s arms. "Hooray!" they [both|] shouted. ["Let us play
together," said {h}, "but far away from the trees."|They played with it all day, and this time they stayed in the open
field.|{h} let {f} have the first turn.]
""",
    rows={
        "obj": ["kite", "red balloon", "straw hat", "paper plane", "yellow scarf", "blue umbrella", "toy bird"],
        "plan": [
            "They fetched a ladder from the barn. {f} held it still, and {h} climbed up step by step.",
            "They tied two long sticks together with a rope. Now the stick was long enough.",
            "They tied a small stone to a string and threw it over the branch. Then they pulled hard.",
            "{f} stood on a big box, and {h} climbed onto {fhis} shoulders. Together they were just tall enough.",
            "They waited until the wind came from the other side. Then they shook the branch with a long rope.",
        ],
    },
    **{"not": "duck"},
)

plot(
    "hurtbird",
    "help wonder",
    "The Little {bird}",
    "a little {bird}",
    """
{day}, {h} found a little {bird} [on the ground|under a bush|in the wet grass]. One of its wings [was hurt|hung down].
The bird [looked at {h} with bright eyes|was shaking with cold]. "[Do not be afraid|You poor little thing]," said {h}
softly. "I will help you."

{h} [made a bed of soft wool in a box|put dry grass in a small basket] and [laid|put] the bird inside. {he} offered it
{food1}, but the bird would not eat. {he} offered it {food2}, but the bird [turned its head away|only blinked]. [{h}
was worried.|"What do you like?" {he} asked.] So {he} asked {fi}. "[Try|Give it] some {right}," said {f}. "[And keep
it warm and quiet|And let it rest]." {h} tried that, and [at last the bird began to eat|the bird ate it all].

Every day {h} [fed the bird and changed its water|sat with the bird and sang to it]. Every day it grew a little
stronger. [One morning|After two weeks|When spring came], the bird [spread its wings|flapped its wings and chirped].
[{h} knew that it was time.|"It wants to fly," said {f}.] {h} carried the box outside. It was hard to say goodbye.

The bird flew [up, up, up into the blue sky|once around the garden and then over the trees]. [But every morning after
that, it came back and sang|But the next day it came back and sat] [outside {h}'s window|on the fence].
""",
    rows={
        "bird right": ["sparrow; seeds", "robin; worms", "finch; seeds", "blackbird; worms", "swallow; tiny flies"],
        "food1": ["a piece of cheese", "some cake", "a crust of bread"],
        "food2": ["a carrot", "some warm soup", "a slice of potato"],
    },
    who="child",
)

plot(
    "build",
    "help try",
    "The {thing} by the {water}",
    "building a {thing}",
    """
{day}, {h} wanted to build a {thing}. "[It will be the best {thing} in the world|I will build it all by myself]," {he}
said. {he} [gathered|found] some {mat1} and began.

[After an hour the {thing} was done.|{h} worked all morning.] But then {oops1}. {h} [frowned|groaned|was not pleased].
"I will use {mat2}," {he} said. {he} [worked until noon|tried again], and it looked [better|quite good]. But {oops2}.
[{h} wanted to cry.|"Why does it never work?" {he} said.]

{fi} had been watching [from the path|with interest]. "[May I help|Would you like some help]?" asked {f}. [At first
{h} wanted to say no. Then {he} nodded.|"Yes, please," said {h}.] "[You need|We need] {mat3}," said {f}, "[and four
{hand2} are better than two|and we must start at the bottom]." They [carried and lifted and pushed|worked side by
side]. {f} [held the pieces|measured], and {h} [tied the knots|fixed them in place].

When the sun went down, the {thing} was finished. It [stood straight and strong|did not shake at all]. [They sat in
front of it and ate bread and cheese.|"We built it together," said {h}.|"It is not mine," said {h}. "It is ours."]
""",
    rows={
        "thing mat1 oops1 mat2 oops2 mat3": [
            "hut; dry grass; the wind blew it away; thin sticks; the roof fell in; strong branches and good rope",
            "bridge; thin branches; it broke under {his} first step; mud and grass; the water washed it away; two "
            "long logs",
            "tree house; old boxes; they got soft in the rain; short boards; they did not reach from branch to "
            "branch; long boards and a"
            " ladder",
            "raft; reeds; they came apart in the water; one big log; it rolled over and over; six dry logs and a "
            "long rope",
            "snow fort; soft snow; the wall fell over; sticks and snow; it leaned to one side; big round blocks of "
            "hard snow",
            "wall; round stones; they rolled away; sand; it slid down; flat stones and clay",
            "swing; a thin string; it snapped; an old ribbon; it stretched to the ground; a thick rope and a "
            "smooth board",
        ],
        "water": ["River", "Lake", "Stream", "Hill"],
        "hand2": ["hands"],
    },
)

plot(
    "sleep",
    "home friend",
    "{h} Cannot Sleep",
    "a {hkind} who cannot sleep",
    """
[It was late, but {h} could not sleep.|One night, {h} could not fall asleep.|The moon was high, and {h} was still
awake.] {he} [turned to the left, and then to the right|closed {his} eyes, but they opened again]. [The bed was too
warm. Then it was too cold.|The clock went tick, tock, tick, tock.]

{he} tried counting {count}, but {cfail}. {he} tried {try2}, but that [only made {him} more awake|did not help
either]. ["It is no use," said {h}.|"Everyone is asleep but me," {he} thought.] So {he} [got up and went to the
window|tiptoed outside]. [The garden was silver in the moonlight.|The stars were out, and everything was still.]

[There sat {fi}, looking at the moon.|There was {fi}, wide awake too.] "[You cannot sleep either|Are you awake too]?"
asked {h}. "No," said {f}. "[I keep thinking about tomorrow|My head is too full]." They sat side by side and [looked
at the stars|listened to the crickets]. {f} [told {h} about {ftold}|spoke softly about {ftold}]. {h} [listened and
listened|leaned back], and {his} eyes grew heavy.

[Soon {h} yawned a very big yawn.|{h} yawned, and then {f} yawned too.] "Good night, {f}," {he} said. {h} [went back
to bed|crept back into bed], and [this time sleep came quickly|before {he} could count to three, {he} was asleep].
""",
    rows={
        "count cfail": [
            "clouds; there were no clouds at night",
            "sheep; one of them kept jumping back",
            "stars; there were too many",
            "{his} toes; they tickled",
        ],
        "try2": ["drinking warm milk", "lying upside down", "singing to {himself}", "thinking of nothing"],
        "ftold": [
            "the quiet sea",
            "a boat that sailed to the moon",
            "the smell of summer grass",
            "how the snow falls",
            "a cloud that wanted to be a pillow",
        ],
    },
    opening="plain",
)

plot(
    "snow",
    "wonder friend",
    "The First Snow",
    "the first snow",
    """
[One winter morning|Early one winter morning], {h} [opened the door|looked out of the window] and [saw that everything
was white|everything was white]. It had snowed all night. "[Snow!|It is snowing!]" {he} [cried|shouted]. {he} put on
{his} [scarf|hat|warm coat] and ran outside. The snow [crunched under {his} feet|was cold and soft].

{h} called {fi}, and together they began to make a {snow}. [First they rolled a big ball.|They rolled the snow into
balls, one big and one small.] But {oops}. ["Oh well," said {h}. "Let us try again."|They laughed and started again.]
The second time, they [worked more slowly|pressed the snow tight]. It stood!

They gave it {eyes} for eyes and {nose} for a nose. "[It looks hungry|It needs something to keep it warm]," said {f}.
So {h} gave it [{his} own hat|an old scarf|a bright red ribbon]. [Then they [slid down the hill on an old board|threw
snow into the air|drank hot cocoa] until [it got dark|their noses were red].]

[A week later|When the sun grew warm|In the spring], the {snow} [melted away|was gone]. Only [the two eyes and the
nose|a small puddle] lay on the ground. {h} was [a little sad|sad for a moment]. "It will come back next winter," said
{f}. "[And so will we|And we will build it again]."
""",
    rows={
        "snow": ["snowman", "snow bear", "snow rabbit", "snow cat"],
        "oops": [
            "the head rolled off and down the hill",
            "it leaned to one side and fell over",
            "it broke in the middle",
        ],
        "eyes": ["two black stones", "two chestnuts", "two round buttons", "two pieces of coal"],
        "nose": ["a carrot", "a pine cone", "a small potato", "a red berry"],
    },
    opening="plain",
)

plot(
    "picnic",
    "share wonder friend",
    "The Picnic",
    "a picnic",
    """
{day}, {h} and {fi} planned a picnic [by the lake|on the hill|in the meadow]. They packed {i1}, {i2}, and {i3}. "[This
will be the best day of the year|I have been waiting for this all week]," said {h}. They spread a [red|checkered|blue]
blanket on the grass.

But [before they could eat|just as they sat down], {trouble}. They {try1}, but {fail1}. ["Our picnic is ruined," said
{h}.|{h} felt {bad}. "Nothing is going right," {he} said.] "[Wait|Not yet]," said {f}. "[A picnic is not about the
place|We still have our food, and we still have each other]. {idea}."

So they [picked up the basket and ran|gathered everything and hurried off]. {there} They ate [every last crumb|until
they were full], and [they told jokes|they sang silly songs|they played a guessing game]. ["This is even better than
our plan," said {h}.|"I like this picnic best of all," said {h}.|They laughed so much that their sides hurt.]
""",
    rows={
        "i1": ["bread and cheese", "egg sandwiches", "a fresh loaf", "cucumber sandwiches"],
        "i2": ["red apples", "sweet grapes", "cherries", "a bowl of strawberries"],
        "i3": ["a bottle of lemonade", "a jug of cold juice", "a small chocolate cake", "oat cookies"],
        "trouble try1 fail1 idea there": [
            "it began to rain; hid under a bush; the rain dripped through the leaves; We can eat in the old barn;"
            " In the barn it was dry, and the hay was soft.",
            "a long line of ants marched over the blanket; moved the blanket to the left; the ants came along;"
            " We can sit on the big flat rock; On the rock, there was not one ant.",
            "a strong wind blew the cups over; held the blanket down with stones; the wind blew even harder;"
            " We can sit behind the stone wall; Behind the wall, the air was warm and still.",
            "three bees came to taste the food; sat very still; more bees came; We can leave them one berry and move "
            "to the pond;"
            " At the pond, it was cool and quiet.",
        ],
    },
)

plot(
    "quarrel",
    "friend share",
    "The Quarrel",
    "a quarrel",
    """
{h} and {fi} [did everything together|were the best of friends]. But {day}, they both wanted the same {obj}. "[I saw
it first|It is mine]!" said {h}. "No, it is mine!" said {f}. They pulled [and pulled|this way and that], and [crack!
The {obj} broke|the {obj} fell into the mud]. "[That was your fault|I do not want to play with you anymore]!" they
both [shouted|said], and each went home alone.

At home, {h} tried to {solo1}, but [it was not much fun alone|there was no one to laugh with]. {he} tried to {solo2},
but [{he} kept thinking of {f}|that was boring too]. [The house was very quiet.|Even {his} dinner did not taste good.]
"[I miss {f}|A {obj} cannot play with me]," {h} [thought|said to {himself}].

[The next morning|Early the next day], {h} [went to|walked to] {f}'s house. On the way, {he} met {f}, who was coming
to see {him}! They [looked at each other|both stopped]. "I am sorry," they said at the same time. Then they
[laughed|began to laugh].

"[We can fix the {obj} together|We can take turns]," said {h}. "[And I will go first at saying sorry next time|I would
rather have a friend than a {obj}]," said {f}.
""",
    rows={
        "obj": [
            "wooden sword",
            "big seashell",
            "toy train",
            "red wagon",
            "paper boat",
            "golden whistle",
            "painted mask",
            "toy crown",
        ],
        "solo1": ["play hide and seek", "throw a ball", "build a tower", "play a game of cards"],
        "solo2": ["read a book", "draw a picture", "take a nap", "look out of the window"],
    },
)

plot(
    "truth",
    "truth",
    "The Broken {thing}",
    "telling the truth",
    """
{day}, {h} was [running|jumping|throwing a ball] inside the house of {fi}, although {he} knew that {he} should not.
Bump! {he} hit the table, and {f}'s [favorite|best] {thing} fell down and broke into [three|five|many] pieces. [{h}
stood very still.|{h} felt cold all over.] [Nobody had seen it.|Nobody was there.]

[Quickly,|First,] {h} [pushed the pieces under the rug|hid the pieces behind a chair]. "[Nobody will ever know|Maybe
{f} will not notice]," {he} thought. But {he} could not [eat {his} supper|enjoy {his} game], for {his} tummy felt
heavy. [When {f} smiled at {him}, it felt even worse.|When {f} asked, "Is something wrong?" {h} only shook {his}
head.] At night {he} lay awake and thought about the {thing}.

In the morning {h} [took a deep breath|gathered all {his} courage]. "{f}, I [have something to tell you|must tell you
something]," {he} said. "I broke your {thing}. I was [running in the house|not careful], and then I hid it. I am
sorry." {f} was quiet for a moment. "[I am sad about the {thing}|I did like that {thing}]," {fhe} said, "but [I am
glad that you told me|you were brave to tell me]."

[Together they glued the pieces back together.|{h} worked in {f}'s garden all week to make up for it.|They swept up
the pieces, and {h} made a new one out of clay.] And {h}'s tummy felt light again.
""",
    rows={"thing": ["vase", "teapot", "flower pot", "cup", "blue bowl", "plate", "lamp", "clay bird"]},
)

plot(
    "toosmall",
    "brave try help",
    "Too Small",
    "a {hkind} who felt too small",
    """
{h} was the smallest of all {his} friends. [{he} could not reach the high shelf.|{he} could not carry the heavy
buckets.|In every game, {he} was picked last.] "[You are too small|You are too little for that]," the others [always
said|said]. [{h} stretched every morning, but {he} did not grow.|{h} stood on {his} toes, but it did not help.] "[I
wish I were big|Being small is no good at all]," {he} said.

{day}, {fi} [came running|called for help]. "{trouble}!" {fhe} cried. [Everyone came to help.|All the big ones came at
once.] {bigfail} They tried [again and again|once more], but [it was no use|nothing worked].

"Let me try," said {h}. Some of them laughed. [But {f} did not laugh.|"You? You are so small!" they said.] {h} {did}.
[Everyone held their breath.|Nobody made a sound.] [A moment later|After a little while], {he} came back [with a big
smile|covered in dust]. {result}

"[Hooray for {h}!|Well done, {h}!]" [they all shouted|everyone cheered]. "[Only someone small could do that|It is good
that you are just the size you are]," said {f}. {h} [stood up very straight|felt as tall as a tree]. {he} never wished
to be big again.
""",
    rows={
        "trouble bigfail did result": [
            "My key fell into a crack in the rocks; They put their arms into the crack, but their arms were too "
            "thick.; slipped"
            " into the narrow crack, all the way to the end; In {his} {hand} was the shiny key.",
            "My ring fell down the drain; They pulled at the grate, but it would not move.; squeezed between the "
            "bars and climbed down;"
            " {he} was holding the ring up high.",
            "The door is locked from inside, and the soup is burning; They pushed and pushed, but the door stayed "
            "shut.; climbed"
            " through the tiny window; The door swung open, and the soup was saved.",
            "A kitten is stuck in the pipe; They called and called, but the kitten was afraid of their loud voices.; "
            "crawled"
            " into the pipe and spoke very softly; Behind {him} came the little kitten.",
        ],
    },
    **{"not": "elephant bear cat kitten pony panda"},
)

plot(
    "littleone",
    "help wonder home",
    "The Lost {baby}",
    "a lost {baby}",
    """
{day}, {h} heard someone crying [behind a bush|in the tall grass|near the water]. It was a tiny {baby}. "[Why are you
crying|What is the matter, little one]?" asked {h}. "[I cannot find my mother|I have lost my mother]," said the
{baby}. "[Do not cry|Dry your tears]," said {h}. "[We will find her|I will help you look]."

They went to {p1} and asked {who1}. "[No, I have not seen her|Sorry, she was not here]," was the answer. They went to
{p2} and asked {who2}. "[She was here this morning, but she has gone|No, not today]." The {baby} [began to cry
again|was getting tired], so {h} [carried it on {his} back|sang a little song].

Then they met {fi}. {f} [listened carefully|thought for a moment]. "[If I had lost my child, I would go back to the
place where I saw it last|A mother always looks where she saw her child last]," said {f}. "Little one, where did you
see her last?" "By {last}," said the {baby}. So [they all went there|off they went] together.

[And there she was!|And who was standing there?] The mother {mother} [was running up and down and calling|had been
looking everywhere]. [When she saw her {baby}, she cried for joy.|She took her {baby} in and held it close.] "How can
I ever thank you?" she said. "[It was nothing|We are glad we could help]," said {h}.
""",
    rows={
        "baby mother last": [
            "duckling; duck; the old boat",
            "lamb; sheep; the wooden gate",
            "chick; hen; the red barn",
            "kitten; cat; the well",
            "fawn; deer; the silver birch tree",
            "gosling; goose; the reeds",
            "foal; horse; the apple tree",
        ],
        "p1 who1": [
            "the mill; the old miller",
            "the bridge; a fat green frog",
            "the hill; a grazing goat",
            "the field; a busy bee",
        ],
        "p2 who2": [
            "the pond; a sleepy turtle",
            "the forest; a gray owl",
            "the garden; a slow snail",
            "the road; a farmer with a cart",
        ],
    },
    **{"not": "duck lamb cat kitten pony turtle frog elephant"},
)

plot(
    "map",
    "friend wonder share",
    "The Old Map",
    "a treasure map",
    """
{day}, {h} found an old map [in a bottle|inside a dusty book|under a loose floorboard]. There was a big X on it. "[A
treasure map!|It must be a treasure!]" {h} [cried|whispered]. {he} ran to show it to {fi}. "[Let us go and find it|We
must look for it at once]!" said {f}.

The map said, "[Walk|Go] {steps} steps from {start}." They counted every step, but [they came to a wall|they ended up
in a bush]. "[We took steps that were too big|We started on the wrong side]," said {f}. They tried again, and this
time they came to {second}. [There the map told them to dig.|"Dig here," said the map.]

They dug [and dug|for a long time]. [First they found a boot.|First they found only stones.] [Then|At last] their
spade hit something hard. It was a [small|rusty|wooden] box! {h} [opened the lid slowly|lifted the lid with shaking
{hand2}]. There was no gold inside. There was {treasure}.

{reaction} ["It is better than gold," said {h}.|"This is a real treasure," said {f}.] [Then they put something of
their own into the box and buried it again for someone else to find.|They kept the box, and it was their secret.]
""",
    rows={
        "steps": ["ten", "twenty", "thirty", "fifty"],
        "start": ["the old well", "the crooked tree", "the white gate", "the big gray rock"],
        "second": ["a hollow tree", "a ring of white stones", "a spot of soft sand", "the roots of a huge oak"],
        "treasure reaction": [
            'a letter that said, "The best treasure is the friend who came with you."; They looked at each other '
            "and smiled.",
            "a set of colored pencils and a pile of clean paper; They sat down and began to draw right away.",
            "a bag of seeds with a picture of flowers on it; They planted them all around the house.",
            "a little music box that still played a tune; They listened to it again and again.",
            "a book of old stories; They read it together under a tree.",
            "a box of glass marbles in every color; They played with them until evening.",
        ],
        "hand2": ["fingers"],
    },
    who="child",
)

plot(
    "thief",
    "share help",
    "Who Took the {veg}?",
    "some missing {veg}",
    """
{h} had a small garden, and {he} was very proud of {his} {veg}. But {day}, some of them were gone! "[Who took my
{veg}|Where are my {veg}]?" {h} [cried|asked]. [The next day, even more were missing.|The next morning, three more
were gone.]

{h} [built a fence, but the next day there was a hole under it|put up a sign that said "Keep out," but it did not
help|made a scarecrow with an old hat, but nobody was scared of it]. [{h} was angry now.|"That is enough," said {h}.]
That night {he} hid [behind the water barrel|under a big leaf|behind the bean plants] and waited.

[When the moon came up|Around midnight], somebody [crept|tiptoed] into the garden. It was {fi}! "Stop!" said {h}. {f}
[jumped|dropped everything]. "[Please do not be angry|I am so sorry]," {fhe} said. "[My own garden dried up|The rain
washed my garden away], and I am so hungry. [I did not know how to ask.|I was too ashamed to ask.]"

{h} [was not angry anymore|felt sorry for {f}]. "[You only had to ask|Next time, just knock on my door]," {he} said.
[So {h} filled a basket for {f}.|They cooked a big pot of soup together that very night.] In the spring, {f} [helped
{h} in the garden every day|came to dig and water with {h}], and there was [more than enough for two|plenty for
everyone].
""",
    rows={"veg": ["carrots", "beans", "radishes", "tomatoes", "strawberries", "turnips", "peas", "cabbages"]},
)

plot(
    "tidy",
    "help try",
    "The Messy {room}",
    "a messy {room}",
    """
{h}'s {room} was a terrible mess. There were {m1} on the floor, {m2} on the bed, and {m3} under the table. "[I will
clean it up tomorrow|It is not so bad]," {h} said every day. {day}, {he} needed {his} good boots, but they were
nowhere to be seen.

[{h} pushed everything into the closet, but the door burst open and it all fell out.|{h} pushed everything under the
bed, but the bed began to wobble.] [Then {he} tripped and landed on a drum. Boom!|Then {he} stepped on something
sharp. "Ouch!" cried {h}.] {he} looked around and felt {bad}. "[Oh, what a mess|This will take a year]!" {he} said.

{fi} came in. "[Begin with one thing|Start with one corner]," said {f}. "[Put on some music, and make it a game|First
the {m1}, then the {m2}, then the {m3}]." [They sorted and folded and swept.|{f} sang, and {h} worked to the beat.]
Little by little, the floor came back. [Under the very last pile, {h} found what {he} had been looking for.|And there,
behind a cushion, was the thing {he} had been looking for.]

[When they had finished|At the end], the {room} [looked twice as big|shone]. "[Now there is room to dance|So that is
what my floor looks like]!" said {h}. And they [danced|both laughed].
""",
    rows={
        "room": ["room", "house", "workshop"],
        "m1": ["books", "blocks", "crayons", "socks"],
        "m2": ["hats", "toys", "pillows", "shirts"],
        "m3": ["old papers", "apple cores", "sticks", "shoes"],
    },
)
