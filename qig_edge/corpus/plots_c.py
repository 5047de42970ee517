"""Plots, third part: stages, boats, letters, first days and seasons."""

from qig_edge.corpus.plots import collection

PLOTS, plot = collection()


plot(
    "stage",
    "brave try",
    "The Big Show",
    "singing in front of everyone",
    """
There was going to be a show [in the town hall|under the old oak|in the village square], and {h} was going to {act}.
At home {he} [could do it perfectly|knew every part by heart]. But {day}, when {he} saw [all the chairs|all those
faces], {his} [knees began to shake|mouth went dry]. "What if I [make a mistake|forget everything]?" {he} whispered.

{h} tried closing {his} eyes, but [that made {him} dizzy|{he} bumped into a chair]. {he} tried {try2}, but [it did not
help|{his} heart still beat like a drum]. [Then {he} ran outside and hid behind the curtain.|Then {he} sat down behind
the stage, all alone.]

{fi} came and sat down beside {him}. "[I was afraid too, the first time|Everyone is afraid before a show]," said {f}.
"{tip}." [{h} looked up.|{h} took three deep breaths.] "[Will you stay where I can see you|Will you sit in the first
row]?" {he} asked. "[Of course|I promise]," said {f}.

So {h} walked out. [It was very quiet.|Everyone looked at {him}.] {he} looked only at {f}, and {he} began. [At first
{his} voice was small, but it grew stronger.|{he} made one tiny mistake, but {he} went on.] When it was over,
everybody [clapped and clapped|stood up and cheered]. "Were you afraid?" asked {f}. "[Yes|A little]," said {h}, "but
[I would do it again tomorrow|it was worth it]!"
""",
    rows={
        "act": ["sing a song", "read a poem", "sing a solo", "tell a story", "play the part of the king"],
        "try2": ["counting backward", "drinking some water", "humming a tune", "jumping up and down"],
        "tip": [
            "Do not look at all of them. Just look at me",
            "Think of the part you like best",
            "Pretend that you are alone in your garden",
            "A mistake is not the end of the world",
        ],
    },
)

plot(
    "boat",
    "friend wonder try",
    "The Little Boat",
    "a little boat",
    """
{day}, {h} and {fi} [found an old boat by the lake|made a boat out of old boards]. "[Let us sail to the island|We can
row to the island]!" said {h}. They took [bread and a map|two apples and a rope] and climbed in. The boat rocked
[gently|softly] on the water.

[In the middle of the lake|Halfway across], {trouble}. They {try1}, but {fail}. [The boat turned in a circle.|The
shore looked very far away.] "[What do we do now|Are we going to sink]?" asked {f}. "[Let me think|Stay calm]," said
{h}. {he} looked around the boat and saw {tool}. "[That is it|I have an idea]!" {he} said. So they {fix}.

Slowly the boat [moved on|moved toward the island]. [Little waves splashed over the side, but they did not mind.|{f}
sang a sailor song, and {h} laughed.] At last they [felt sand under the boat|reached the island]. It was [green and
quiet|full of flowers and birds]. They found {found} and had [the best picnic ever|a wonderful afternoon].

[In the evening they sailed home, tired and happy.|When the sun turned red, they rowed home again.] "[We are real
sailors now|Tomorrow we will go even farther]," said {h}.
""",
    rows={
        "trouble try1 fail tool fix": [
            "the wind stopped and the boat would not move; blew into the sail; that was not enough; two flat boards; "
            "used the boards as paddles",
            "one paddle fell into the water and floated away; reached for it; it was too far away; a long branch; "
            "tied a tin plate to the branch and used it as a paddle",
            "water came in through a small hole; put a leaf over it; the water pushed it away; a lump of soft wax; "
            "pressed the wax into the hole until it was closed",
            "a thick fog came up; called out; there was no answer; a little bell on the rope; rang the bell, and "
            "from the island another bell rang back",
        ],
        "found": [
            "a tiny beach of white sand",
            "a tree full of sweet pears",
            "a pool of clear water",
            "a nest with three blue eggs, which they did not touch",
        ],
    },
)

plot(
    "hiccups",
    "help wonder",
    "{h} Has the Hiccups",
    "a {hkind} with hiccups",
    """
{day}, {h} [suddenly had the hiccups|ate too fast and got the hiccups]. "Hic!" said {h}. {he} could not
[sing|read|even say {his} own name] without a "hic!" in the middle.

"[Drink some water|Try a glass of water]," said [the baker|an old neighbor]. {h} drank a whole glass. "Hic!" [It did
not help.|The hiccups were still there.] "[Hold your breath|Hold your breath and count to ten]," said [a passing
crow|the farmer]. {h} held {his} breath until {his} cheeks were round. "Hic!" "[Stand on your head|Hop on one leg],"
said {someone}. {h} tried it and fell over. "Hic! Hic!" [Now they came two at a time.|Now it was even worse.]

{h} sat down [on a log|on the steps], tired and {bad}. Then {fi} came by. {f} did not say anything. {fhe} only {did}.
{h} [was so surprised that {he} forgot everything|began to laugh and could not stop]. {he} laughed, and then {he}
waited. [One minute went by. Then two.|Everything was quiet.]

"[They are gone|My hiccups are gone]!" said {h}. "[How did you do that?|You are better than a doctor!]" {f} opened
{fhis} mouth to answer. "Hic!" said {f}. And they both [laughed until they fell over|began to laugh again].
""",
    rows={
        "someone": ["a goat", "a boy with a red hat", "the mail carrier", "a girl with a basket"],
        "did": [
            "made the funniest face in the world",
            "walked past with a pot on {fhis} head",
            "danced on the tips of {fhis} toes",
            "put on a hat, and then another hat, and then another",
        ],
    },
)

plot(
    "letter",
    "friend home",
    "The Letter",
    "a letter",
    """
{day}, {h} found a letter [by the gate|on the path|under a stone]. It was wet from the rain, and {h} could only read a
few words. "Come to {place}," it said, and "please" and "alone." [There was no name on it.|The name was washed away.]
"[Somebody needs help|This must be important]," {h} thought.

{h} [asked the baker, but the baker had written no letter|asked at the next house, but nobody knew anything]. {he}
asked [the teacher|the shoemaker], but [it was not hers|it was not from there] either. So {h} [put on {his} boots and
went|set off] to {place}. [It was a long way, and it was getting dark.|The path was steep, and {he} had to rest
twice.]

There sat {fi}, [all alone|with a sad face]. "[You came!|You got my letter!]" said {f}. "[I moved here last week|I am
new here], and I do not know anyone. I wrote, 'Please come to {place}. I am always alone.' [I hoped that someone would
find it.|I did not know where to send it.]"

"[Then I am glad that I found it|Then it came to the right place]," said {h}. {he} [sat down next to {f}|shared {his}
bread with {f}], and they [talked until the stars came out|watched the sun go down]. The next day, {h} [took {f} to
meet everybody. "This is my new friend," {he} said.|wrote a letter too. It said, "You are not alone anymore."]
""",
    rows={
        "place": [
            "the old tower",
            "the end of the beach",
            "the top of the hill",
            "the little bridge",
            "the big willow tree",
        ],
    },
)

plot(
    "school",
    "friend brave",
    "The First Day of School",
    "the first day of school",
    """
It was the first day of school. {h} [put on {his} new shoes|packed {his} new bag twice] and [held Mom's hand very
tight|ate almost no breakfast]. "What if nobody likes me?" {he} asked. "[Just be yourself|Smile and see what
happens]," said Mom.

The classroom was [big and noisy|full of children]. {h} [sat down in the last row|sat at an empty table]. {he} wanted
to say hello to a {g1}, but [the words stuck in {his} throat|no sound came out]. At lunch, {he} opened {his} bag.
[{His} lunch was not there!|{he} had forgotten {his} lunch at home!] [{h} looked at the table and tried not to
cry.|{h} felt {bad} and hungry.]

"[Do you want half of mine|Would you like some of mine]?" asked {kid}, who sat down across from {him}. "[I have|My
mother always gives me] {food}, and it is too much for me." {h} [nodded|smiled for the first time that day]. [They
found out that they both liked {like}.|"I like {like}," said {kid2}. "Me too!" said {h}.]

After lunch they [played on the swings|drew pictures|looked at books] together. When Mom came, she asked, "[How was
it|How was your first day]?" "[It was too short|I want to go again tomorrow]!" said {h}.
""",
    rows={
        "g1": ["girl with long braids", "boy with a green sweater", "boy with curly hair", "girl with a funny hat"],
        "kid kid2": [
            "a boy named Alfie; Alfie",
            "a girl named Greta; Greta",
            "a girl named Suki; Suki",
            "a boy named Bruno; Bruno",
        ],
        "food": [
            "a cheese sandwich",
            "rice and vegetables",
            "two big pancakes",
            "an egg roll",
            "a huge banana and some bread",
        ],
        "like": ["dinosaurs", "trains", "stars and planets", "frogs", "drawing", "soccer"],
    },
    who="child",
    friend="none",
    opening="plain",
    **{"theme_fix": "1"},
)

plot(
    "star",
    "wonder friend",
    "The Fallen Star",
    "a falling star",
    """
[One night|One clear night], {h} was looking out of the window when a star fell from the sky. It [landed|came down]
somewhere behind {where}. "[I must find it|I will find that star]," said {h}. {he} took {his} [lantern|little lamp]
and went out into the dark.

On the way {he} met {fi}. "[Where are you going so late|What are you doing out here]?" asked {f}. "[I am looking for a
star|A star has fallen, and I want to find it]," said {h}. "[I would like to come with you|Then I will come too],"
said {f}. They saw something shine [in the grass|by a tree], but it was only {false1}. They saw another light [by the
water|under a bush], but it was only {false2}. [{h} was tired.|"We will never find it," said {h}.]

At last they [climbed the hill|reached the top of the hill] and sat down. [The whole sky was full of stars.|Above
them, a thousand stars were shining.] "[We did not find the star|I wanted to bring it home]," said {h}. "[But look
up|But look]," said {f}. "[You cannot carry them, but you can always see them|They are not ours, but they shine for
everyone]."

{h} leaned [back|against {f}], and together they [gave names to the brightest ones|counted the stars until they lost
count]. {He} [picked one|chose a small one] and named it "{f}." {f} [laughed|smiled] and named another one "{h}."
""",
    rows={
        "where": ["the hill", "the forest", "the barn", "the old mill"],
        "false1": ["a firefly", "a wet leaf", "a spoon that someone had lost", "a snail with a shiny shell"],
        "false2": ["the moon in a puddle", "a piece of glass", "the window of a small house", "a drop of dew"],
    },
    opening="plain",
)

plot(
    "turns",
    "friend",
    "The Narrow Bridge",
    "a narrow bridge",
    """
There was a [narrow|very narrow] bridge over the {water}. Only one could cross at a time. {day}, {h} [stepped|walked]
onto the bridge with {load1}. At the same moment, {fi} stepped onto it from the other side with {load2}. They met in
the middle.

"[Go back|Please go back]," said {h}. "I was here first." "No, you go back," said {f}. "I was here first!" They stood
nose to nose. [{h} would not move, and neither would {f}.|{h} stamped {his} foot, and {f} stamped too.] The bridge
[creaked|began to shake]. [An hour went by.|The sun rose higher, and they were both hot and thirsty.]

{h} tried to [push past, but there was no room|climb along the rail, but it was too thin]. Then [a drop of rain fell,
and another|the wind blew harder], and they both held on tight. "[This is silly|We could stand here all night]," said
{h} at last. [{f} had to smile. "It is," {fhe} said.|"You are right," said {f}.] "[I will go back|I will let you go
first]," said {h}. "[Your load is heavier than mine|You look more tired than I am]."

So {h} [walked backward, step by step|went back to the bank], and {f} crossed. Then {f} [put down {fhis} load and
helped {h} to carry {load1}|waited on the other side and held the rail so that {h} could cross safely]. [After that
day, whoever came second always waited.|They sat by the water and shared their lunch.]
""",
    rows={
        "water": ["river", "stream", "deep brook"],
        "load1": ["a sack of flour", "a basket of eggs", "a bundle of wood", "a heavy pumpkin"],
        "load2": ["a big bag of apples", "a rolled carpet", "a jar of honey", "a pile of books"],
    },
)

plot(
    "oldneighbor",
    "help friend",
    "The Old {trade}",
    "an old {trade}",
    """
At the end of the path lived an old {trade}. [Everyone said he was grumpy.|Nobody ever saw him smile.] {day}, {h} and
{fi} were playing when their ball [flew over the fence|rolled through the gate] into his garden. "[Oh no|Now what],"
said {f}. "[We should just leave it|I do not dare to go in]."

{h} [knocked on the door|went up to the door and knocked]. [No answer.|Nobody came.] {he} knocked again, a little
louder. "Go away," said a voice. {h} [wanted to run|almost ran away], but then {he} heard [a cough|a sigh]. "[Are you
all right|Is something wrong]?" {he} asked through the door. [There was a long silence.|For a moment it was quiet.]
"{trouble}," said the voice.

"[We can help you|Let us help]!" said {h}. So they {helped}. The old man [watched them from his chair|sat in his chair
and watched], and [his face grew softer|slowly he began to smile]. When they had finished, he [gave them their
ball|brought out their ball and a plate of cookies].

"{thanks}," he said. [From then on|After that], {h} and {f} visited him every [week|Sunday]. He taught them {teach},
and [he was not grumpy at all|he smiled a lot]. He had only been lonely.
""",
    rows={
        "trade teach": [
            "sailor; how to tie knots",
            "clockmaker; how a clock works",
            "gardener; the names of all the flowers",
            "shoemaker; how to mend their boots",
            "musician; how to play the violin",
            "carpenter; how to carve little animals",
        ],
        "trouble helped": [
            "My back hurts, and I cannot carry the wood; carried all the wood into the house and stacked it by "
            "the stove",
            "My glasses are lost, and I cannot see a thing; looked in every room and found his glasses in the "
            "bread box",
            "I am too tired to water my plants; watered every plant in the garden and pulled out the weeds",
            "My roof leaks, and everything is wet; put buckets under the drips and dried the floor",
        ],
        "thanks": [
            "Nobody has helped me for a long time",
            "Thank you. I had forgotten how nice it is to have visitors",
            "You two are welcome here at any time",
        ],
    },
    who="any",
)

plot(
    "hat",
    "wonder share",
    "The {adj} Hat",
    "a {adj} hat",
    """
{day}, the wind blew a {adj} hat right onto {h}'s head. [It fit perfectly.|It was a little too big, but {he} liked
it.] "[What a fine hat|I wonder whose hat this is]," said {h}. {he} wanted to keep it, but {he} knew that somebody
must be missing it.

So {h} went [from house to house|down the road]. "Is this your hat?" {he} asked {p1}. "No," {said} {p1b}, "mine is
{m1}." {he} asked {p2}. "[No, I never wear hats|No, it would fall over my ears]," {said} {p2b}. [{h} walked on and
on.|By noon, {h} had asked nine people.] [Secretly, {he} was a little glad.|"Perhaps it belongs to nobody," {he}
thought.]

Then {he} saw {fi}, [looking behind every bush|running around and looking up into the trees]. "[Have you lost
something|What are you looking for]?" asked {h}. "My {adj} hat," said {f}. "[My grandmother made it for me|It was a
present from my grandfather]." {h} [took off the hat slowly|swallowed hard]. {he} [had grown to like it|had begun to
love that hat]. But {he} held it out. "Here it is," {he} said.

{f} [hugged the hat|was so happy that {fhe} danced]. A week later, a box came for {h}. Inside was a [brand
new|beautiful] hat, and it was {adj} too. "[For an honest friend|Now we match]," said the card.
""",
    rows={
        "adj": ["red", "green", "purple", "striped", "tall", "yellow", "feathered"],
        "p1 p1b m1": [
            "the baker; the baker; white",
            "an old farmer; the farmer; made of straw",
            "the mail carrier; the mail carrier; blue",
        ],
        "p2 p2b": ["a woman with a dog; the woman", "a tall man; the man", "a goat in a field; the goat"],
    },
)

plot(
    "rainbow",
    "wonder friend",
    "Chasing the Rainbow",
    "a rainbow",
    """
{day}, it rained and the sun shone at the same time. Suddenly a rainbow stood over the [hills|forest|fields]. "[I want
to touch it|I want to see where it ends]," said {h}. {he} [began to run|set off at once]. On the way {he} called {fi},
and {f} [came along|ran with {him}].

They ran to {p1}, but the rainbow [was still far away|had moved]. They ran to {p2}, but [the rainbow was no closer|it
seemed to run away from them]. "Why can we not reach it?" asked {h}, out of breath.

Then the sun went behind a cloud, and the rainbow [was gone|faded away]. {h} [sat down on a stone|dropped into the
grass] and felt {bad}. "[We ran all this way for nothing|Now it is gone]," {he} said. {f} looked around. "Not for
nothing," {fhe} said. "[Look where we are|Look what we found]!" In front of them was {found}. [They had never been
there before.|They would never have seen it if they had not followed the rainbow.]

They {did} until [evening|it was time to go home]. [On the way home {h} smiled. "The rainbow did lead us to a
treasure," {he} said.|"Thank you, rainbow," said {h} to the empty sky.]
""",
    rows={
        "p1": ["the old oak", "the mill", "the end of the field", "the garden wall"],
        "p2": ["the stream", "the top of the hill", "the edge of the forest", "the stone bridge"],
        "found did": [
            "a field full of wild strawberries; ate the sweet berries",
            "a clear blue pond; splashed in the water",
            "a meadow full of flowers in every color; picked flowers",
            "an old swing in a huge tree; took turns on the swing",
            "a tiny waterfall; floated leaves in the water",
        ],
    },
)

plot(
    "balloon",
    "wonder brave",
    "{h} and the Big Wind",
    "a big wind",
    """
{day}, a very big wind came. It [blew the hats off people's heads|blew the wash off the lines|shook all the trees].
{h} was [carrying a large umbrella|holding a big kite], and whoosh! The wind [lifted {him} off the ground|picked {him}
up]. "[Help!|Oh my!]" cried {h}. Up {he} went, over the [roofs|trees].

At first {h} [was afraid and shut {his} eyes|held on with all {his} strength]. Then {he} [opened one eye|looked down].
[The houses looked like toys.|The river looked like a silver ribbon.|The cows looked like ants.] "[It is beautiful|How
beautiful]!" said {h}. But how would {he} get down? {he} [kicked {his} legs, but that only made {him} spin|shouted at
the wind, but the wind did not listen].

{fi} saw {him} from [below|a hilltop]. "[Hold on!|Do not let go yet!]" called {f}. {f} ran along, [as fast as {fhe}
could|over fields and fences]. "[There is a haystack ahead|I see a soft haystack]! When I say now, let go!" {h}
waited. {his} heart [beat fast|was beating hard]. "Now!" shouted {f}. {h} let go and [fell, plop, into the soft
hay|landed in the hay with a plop].

{h} [sat up with hay in {his} ears|shook the hay off and laughed]. "[Were you scared|Did you like it up there]?" asked
{f}. "[A little|Yes]," said {h}, "[but now I know what the birds see|but you were there to help me]."
""",
    rows={},
    **{"not": "elephant bear pony panda duck"},
)

plot(
    "autumn",
    "share help",
    "Getting Ready for Winter",
    "getting ready for winter",
    """
The leaves turned [red and gold|yellow and brown], and [the nights grew cold|the days grew short]. "[Winter is
coming|It will be cold soon]," said {fi}. "[I have gathered nuts and wood|My house is ready]. What about you, {h}?"
But {h} only laughed. "[There is plenty of time|I will do it tomorrow]," {he} said, and {he} went off to [play in the
leaves|nap in the sun].

[Every day was the same.|Day after day, {h} played.] "Tomorrow," {h} always said. Then, [one morning|one night], the
first [frost|snow] came. {h} looked into {his} cupboard. There was only {left}. {he} ran out to look for {food}, but
{gone}. {he} looked for dry wood, but [everything was wet|it was all covered with snow]. {h} [shivered|began to
worry].

{h} went to {f}'s door. "[I should have listened to you|You were right]," {he} said. {f} [looked at {him} for a
moment|opened the door]. "[Come in|Sit by the fire]," {fhe} said. "[I have enough for two|There is enough for both of
us], but [you can cook and tell stories|you will have to wash the dishes]." {h} [was very thankful|nodded happily].

They spent [a warm and merry winter|the winter] together. And when the next autumn came, {h} was the first one [in the
forest with a basket|to gather nuts and wood]. "[Not tomorrow. Today|This time, I will start today]," {he} said.
""",
    rows={
        "left": ["half a nut and a dry leaf", "one old apple", "a crust of bread"],
        "food gone": [
            "nuts; the trees were bare",
            "berries; the bushes were empty",
            "apples; the last ones were brown and soft",
        ],
    },
    who="animal",
    opening="plain",
    **{"not": "penguin elephant panda frog turtle cat dog kitten puppy lamb pony duck"},
)

plot(
    "wish",
    "wonder share",
    "One Wish",
    "a wish",
    """
{day}, {h} helped {helped}. "[Thank you|How kind of you]," said {who}. "You may have one wish. [Think about it
well.|But choose it wisely.]" {h} could hardly believe it.

{h} thought and thought. [["I could wish for a mountain of cake," {he} said. "But cake is soon eaten."|"I could wish
for a hundred toys," {he} said. "But toys break."]] {he} thought again. ["I could wish for a big house, but who would
live in it with me?"|"I could wish for a crown, but what would I do with it?"] [The more {h} thought, the harder it
was.|{h} thought until {his} head hurt.]

On the way home, {h} met {fi}. {f} was [sitting by the road|very quiet]. "[What is the matter|Why are you so quiet]?"
asked {h}. "{sorrow}," said {f}. {h} [did not think any longer|knew at once what to do]. {he} closed {his} eyes and
made the wish. {granted}

"Did you use your [only|] wish for me?" asked {f}. "Yes," said {h}, "and [it was the best wish I could think of|now I
feel as happy as you]."
""",
    rows={
        "helped who": [
            "an old woman carry her basket; the old woman",
            "a tiny beetle out of a puddle; the beetle",
            "a butterfly out of a spider web; the butterfly",
            "an old man across the bridge; the old man",
        ],
        "sorrow granted": [
            "My little garden has dried up; Soft rain began to fall, and the garden turned green again.",
            "I have lost the song that my mother taught me; Suddenly {f} began to hum, and the song was there again.",
            "My roof blew away in the storm; There was a flash of light, and the house had a new red roof.",
            "I miss my brother, who lives so far away; There was a knock, and there stood the brother with a bag on "
            "his back.",
        ],
    },
)

plot(
    "paint",
    "help friend try",
    "The {color} Door",
    "a {color} door",
    """
{day}, {h} wanted to paint {his} door. "[It has been gray for so long|A bright door makes a bright day]," {he} said.
{he} bought a can of {color} paint and [a big brush|two brushes]. [Then {he} began, up and down, up and down.|{he}
whistled while {he} worked.]

But {oops}. [Now there was paint everywhere.|"Oh, bother!" said {h}.] {he} tried to wipe it off with {cloth}, but
[that only made the spot bigger|now the cloth was {color} too]. {h} looked at {himself}. {his} nose was {color}, and
so were {his} ears.

{fi} came by and [began to laugh|could not help laughing]. [At first {h} was cross, but then {he} laughed too.|"It is
not funny," said {h}, but then {he} had to laugh as well.] "[Let me help you|I will help you]," said {f}. "{plan}." So
they [painted and painted|worked until evening], one at the top and one at the bottom.

When it was dry, [it was the prettiest door in the whole street|everyone stopped to look at it]. It had {pattern} all
over it. "[I like it better than my first plan|Mistakes can turn into something pretty]," said {h}.
""",
    rows={
        "color": ["blue", "yellow", "green", "red", "orange"],
        "oops": [
            "{he} stepped back to look and put {his} foot right into the can",
            "a gust of wind blew leaves onto the wet paint",
            "the can tipped over and spilled on the step",
            "{he} leaned against the wet door",
        ],
        "cloth": ["a rag", "an old shirt", "a handful of grass"],
        "plan pattern": [
            "We can turn every spot into a flower; flowers",
            "We can turn the spots into little fish; a whole family of fish",
            "We can make the spots into stars; big and small stars",
            "We can make them into leaves; a beautiful pattern of leaves",
        ],
    },
)
