"""Plots, first part: things lost, broken, shared, made and found."""

from qig_edge.corpus.plots import collection

PLOTS, plot = collection()


plot(
    "lost",
    "friend help",
    "The Lost {obj}",
    "a lost {obj}",
    """
{day}, {h} [could not find|lost] {his} [favorite|] {obj}. [{He} had played with it the day before.|It was {his} best
{obj}, and {he} loved it very much.|{He} had it the night before, but now it was gone.] {h} felt {bad}.

[First, {he} looked {no1}, but|{he} looked {no1}. No,] it was not there. [Then|Next,] {he} [searched|looked] {no2},
but {he} found only {junk}. ["Where can it be?" {h} asked {himself}.|"Oh dear," said {h}. "I will never find it."|{h}
sat down and [sighed|almost began to cry].]

[Just then|A little later|Soon], {fi} came by. "[Why do you look so sad|What is wrong|What are you looking for], {h}?"
["I have lost my {obj}," said {h}.|"My {obj} is gone," {h} answered.] "[Let us|We can] look for it together," said
{f}. "[Where did you play with it last?|Where did you have it last?|Think back. Where were you yesterday?]"

{h} [thought hard|thought for a moment|closed {his} eyes and thought]. "[I remember now!|Oh! I know!] I was {place}!"
The two of them [ran|hurried|went] there at once. [And there it was! |There! ][The {obj} was lying|They found the
{obj}] {at}. [{h} picked it up and [hugged it|held it tight].|"You found it!" cried {h}.|{h} jumped for joy.] ["Thank
you, {f}!" {he} said.|{h} felt {good} again.|"Next time I will put it away," said {h}.]
""",
    rows={
        "obj": [
            "red ball",
            "blue kite",
            "toy boat",
            "little drum",
            "woolen hat",
            "green scarf",
            "wooden horse",
            "silver bell",
            "picture book",
            "toy car",
            "yellow hat",
            "striped sock",
            "paint box",
            "music box",
            "tin whistle",
            "paper crown",
            "warm blanket",
            "straw basket",
        ],
        "no1 no2 junk": [
            "under the bed; behind the door; an old button",
            "in the big box; under the table; some dust",
            "behind the chair; in the cupboard; a wooden spoon",
            "under the pillow; on the shelf; a few crumbs",
            "near the window; behind the curtain; a sleepy spider",
            "beside the stove; under the rug; a small coin",
        ],
        "place at": [
            "by the stream; between two stones",
            "under the apple tree; in the tall grass",
            "at the pond; next to a green bush",
            "on the hill; beside a round rock",
            "near the old bridge; under a pile of leaves",
            "in the garden; behind the watering can",
            "by the fence; among the daisies",
            "in the barn; on top of the hay",
        ],
    },
)

plot(
    "broken",
    "help try",
    "The Broken {obj}",
    "a broken {obj}",
    """
{day}, {h} was [playing with|using|carrying] {his} {obj} when it [fell and|slipped and fell, and it] broke. {brk} [{h}
stared at it.|{h} felt {bad}.|"Oh no!" cried {h}. "What have I done?"]

{he} tried to mend it with {bad1}, but {why1}. [Then {he} tried|After that {he} tried] again with {bad2}, but {why2}.
["It is no use," said {h}.|"I cannot do this alone," {h} said.|{h} wanted to give up.]

{fi} [saw what had happened|heard the noise and came to look|stopped to see what was wrong]. ["May I see it?" asked
{f}.|"Do not worry," said {f}. "Many broken things can be mended."|"Let me help you," said {f}.] Together they used
{good1}. {h} [held the pieces|held it still] while {f} [worked slowly and carefully|did the rest]. [It took a long
time.|They had to wait until the next day.|It was not easy, but they did not hurry.]

At last the {obj} was [whole again|as good as new|mended]. [You could still see a thin line, but {h} did not mind.|It
even looked a little nicer than before.|{h} tried it at once, and it worked.] ["It is stronger now," said {f}.|"Thank
you!" said {h}.] {h} was {good}.
""",
    rows={
        "obj brk bad1 why1 bad2 why2 good1": [
            "wooden chair; One leg came off.; a piece of string; the string was too weak; some paste; the paste did "
            "not hold;"
            " two long nails and a hammer",
            "toy boat; The mast snapped in two.; a blade of grass; it was too soft; a ribbon; the mast bent to "
            "one side;"
            " a straight stick and strong glue",
            "kite; The paper tore down the middle.; mud; the mud dried and fell off; a leaf; the wind blew it away;"
            " new paper and a little glue",
            "blue cup; The handle came off.; a bit of string; it slipped off; wet clay; the clay crumbled; strong glue",
            "little cart; A wheel rolled away.; a round stone; the stone was too heavy; a slice of wood; it was "
            "not round;"
            " an old wheel from the shed",
            "drum; There was a hole in the top.; a big leaf; the leaf tore at once; a piece of paper; the paper made "
            "no sound;"
            " a piece of strong cloth",
            "basket; The bottom gave way.; dry grass; it broke at once; an old sock; everything fell out again;"
            " long thin branches from the willow tree",
            "birdhouse; The roof split in two.; a flat stone; the stone slid off; some straw; the wind took it;"
            " a new board and four small nails",
        ],
    },
)

plot(
    "newcomer",
    "friend",
    "The New {fkind2}",
    "a shy newcomer",
    """
{day}, {h} saw someone new. [{a_new} had moved in next door.|{a_new} was sitting alone [by the path|near the
fence|under a tree].] "[Hello|Good morning]! [I am|My name is] {h}," said {h}. But the newcomer only looked at the
ground and [said nothing|ran away to hide].

[{h} was not angry.|{h} was puzzled.] ["Maybe I was too loud," {he} thought.|"Perhaps being new is a little scary,"
{he} thought.] The next day {he} [brought|carried over] {gift} and left it [by the door|on the step|on a flat stone].
[Then {he} sat down not too far away and waited.|{he} did not say a word. {he} only smiled.|{he} sat down and hummed a
quiet song.]

[After a while|At last|Little by little], the newcomer came closer. "My name is {f}," {fhe} said in a small voice. "[I
was shy|I did not know what to say|I do not know anyone here]." ["I am shy too, sometimes," said {h}.|"Now you know
me," said {h}.| "That is all right," said {h}. "There is no hurry."] "Would you like to {play}?" {he} asked.

{f} nodded. They [played until the sun went down|played all afternoon|laughed so much that {f} forgot to be shy].
["Will you come back tomorrow?" asked {f}. "Of course!" said {h}.|"I think I like it here," said {f}.|When it was time
to go home, {f} waved first.]
""",
    rows={
        "gift": [
            "a bunch of flowers",
            "a plate of warm cookies",
            "a ripe red apple",
            "a basket of berries",
            "a drawing of the sun",
            "a smooth white stone",
            "a jar of honey",
            "three sweet plums",
        ],
        "play": [
            "play hide and seek",
            "build a tower of stones",
            "see the pond",
            "climb the hill",
            "fly a kite",
            "jump over puddles",
            "look for shells",
            "draw pictures in the sand",
        ],
        "fkind2": ["Neighbor", "Friend"],
    },
)

plot(
    "storm",
    "brave home",
    "The Night of the Storm",
    "a storm",
    """
[One night|Late one evening|One evening], {storm}. {h} [lay in bed and listened|could not sleep|pulled the blanket
over {his} head]. [The windows shook.|The rain drummed on the roof.|Something outside went bang.] ["I do not like
this," {he} whispered.|{His} heart beat fast.|{h} was afraid.]

{h} tried {calm1}, but {fail1}. {he} tried {calm2}, but then {noise}. [{h} jumped.|"Oh!" cried {h}.|{h} shut {his}
eyes tight.]

[There was a knock at the door.|Then {he} heard a soft knock.|Suddenly someone knocked.] It was {fi}, wet [from head
to toe|and cold]. "[May I come in|Can I stay here tonight]?" asked {f}. "[I am afraid of|I do not like] the storm."
[{h} opened the door wide.| "Come in, quick!" said {h}.] {h} [gave {f} a warm blanket|made hot milk with honey|found a
dry towel], and they sat close together. [They told each other funny stories.|They counted the seconds between the
flash and the boom.|They sang every song they knew.] [The storm seemed smaller|The thunder did not seem so loud] now.

[By morning|When they woke up], [the storm was over|the rain had stopped], and [the sun was shining|there was a
rainbow in the sky|the whole world was clean and bright]. "[We were brave together|It was only noise and water]," said
{h}.
""",
    rows={
        "storm": [
            "a great storm came over the hills",
            "the wind began to howl",
            "dark clouds came and thunder rolled",
            "a storm came, with thunder and lightning",
        ],
        "calm1 fail1": [
            "to count to one hundred; {he} lost count at twelve",
            "to think of something nice; the thunder was too loud",
            "to sing a song; {his} voice shook",
            "to hide under the bed; it was dark and dusty there",
        ],
        "calm2 noise": [
            "to read a book; the light went out",
            "to close the curtains; the wind blew them open",
            "to drink some water; a flash of lightning lit up the room",
            "to hug {his} pillow; a branch scratched the wall",
        ],
    },
    opening="plain",
)

plot(
    "share",
    "share friend",
    "The Last {food}",
    "sharing a {food}",
    """
{day}, {h} had [one big|a beautiful] {food}. [It smelled wonderful.|It looked delicious.|{he} had waited for it all
week.] "[I will eat it all by myself|This is all for me]," said {h}, and {he} sat down [under a tree|on the grass|in
the shade] to eat.

[Before {he} could take a bite|Just as {he} opened {his} mouth], {fi} came along. {f} looked [tired|hungry|thin and
tired]. "[I have walked a long way|I have not eaten since yesterday|I forgot my lunch]," said {f}. "[Do you have
something to eat?|I am so hungry.]" {h} looked at the {food}. [It was not very big.|{he} wanted it so much.] ["What
should I do?" {he} thought.|{he} hid it behind {his} back. Then {he} felt sorry.]

"[Here|Come, sit with me]," said {h} at last. "[We can share it|Half of it is for you|Half is enough for me]." {h}
[cut|broke] the {food} in two and gave {f} the bigger part. [They ate slowly and talked about many things.|They ate
every bit of it.|{f} smiled with {fhis} mouth full.] "This is the best {food} I have ever had," said {f}.

The next [day|morning], {h} found {gift} [on {his} doorstep|by {his} door]. There was a note [on it|beside it]. It
said, "[Thank you for sharing with me|For a kind friend|Now I can share with you]. From {f}."
""",
    rows={
        "food": [
            "apple pie",
            "sandwich",
            "berry cake",
            "loaf of bread",
            "cheese roll",
            "honey cake",
            "pear tart",
            "carrot cake",
            "pancake",
            "nut cake",
            "pumpkin pie",
        ],
        "gift": [
            "a basket of strawberries",
            "a jar of honey",
            "a bag of nuts",
            "a bowl of cherries",
            "a warm loaf of bread",
            "a bunch of carrots",
            "a pot of soup",
        ],
    },
)

plot(
    "home",
    "home help",
    "The Way Home",
    "finding the way home",
    """
{day}, {h} followed {lure} [deep into the forest|far across the fields|over the hills]. [{he} did not look at the
path.|{he} went on and on.] When {he} [stopped|looked up], [everything looked strange|nothing looked the same|{he} did
not know where {he} was]. "[Oh dear|Oh no]," said {h}. "I am lost."

{h} [went left, but the path ended at a wall of thorns|went back the way {he} had come, but the path split in
two|climbed a small hill, but {he} saw only trees]. [Then {he} called out, but only the echo answered.|Then {he} tried
another path, but it led to a wide swamp.|Then {he} walked in a circle and came back to the same big rock.] [The sun
was going down.|It was getting late.|{h} was tired and {bad}.]

"Are you lost?" asked a voice. It was {fi}. "[Yes|Yes, I am]," said {h}. "I live {near}, but I do not know the way."
{f} [thought for a moment|smiled]. "{clue}," {fhe} said. "[Come, we can go together|I will walk with you|Follow me]."

They walked [side by side|for a long time], and {f} {f_did}. At last {h} saw {mark}. "[I can see it!|That is my
home!|There it is!]" {h} cried. {h} [thanked {f}|hugged {f}|gave {f} a bowl of warm soup]. ["Next time, I will watch
the path," said {h}.|"Next time, leave small stones to mark your way," said {f}.]
""",
    rows={
        "lure": [
            "a blue butterfly",
            "a line of ants",
            "a shiny green beetle",
            "a pretty bird song",
            "a trail of white feathers",
            "a little stream",
            "the sweet smell of berries",
        ],
        "near clue mark": [
            "beside the old mill; The stream runs past the mill, so we must follow the stream; the wheel of the mill",
            "near the big oak; The big oak is the tallest tree here, so we must look for its top; the top of the "
            "big oak",
            "by the lake; The birds fly to the lake in the evening, so we can follow the birds; the lake shining in "
            "the sun",
            "at the foot of the hill; The sun sets behind that hill, so we must walk toward the sun; smoke from the "
            "chimney",
            "near the bridge; I can hear the river, and the river goes under the bridge; the gray stones of the bridge",
        ],
        "f_did": [
            "told funny stories",
            "sang a song",
            "showed {h} which berries were good to eat",
            "held {h} by the {hand}",
        ],
    },
    who="any",
    opening="plain",
)

plot(
    "plant",
    "try wonder",
    "{h} and the {plant}",
    "a {plant}",
    """
{day}, {fi} gave {h} a tiny seed. "[What is it|What will it be]?" asked {h}. "[Wait and see|That is a surprise|You
will find out]," said {f}. {h} [dug a small hole|made a hole in the soft earth|filled a pot with earth], put the seed
inside, and gave it some water.

The next [day|morning] {h} [ran|hurried] to look, but there was nothing. [{he} watered it again.|"Grow, little seed,"
{he} said.] Days went by, and [still nothing happened|there was only earth]. {h} tried {silly}, but {no}. ["It will
never grow," {h} said.|{h} was {bad}.|"Maybe it is asleep," said {h}.] "[Be patient|Give it time|Good things grow
slowly]," said {f}. "It needs water, sun, and time."

So {h} [waited|gave it a little water each day]. {trouble} Then, one morning, {he} saw [a tiny green leaf|something
green|a small green tip]. "[It is growing!|Look! Look!]" {he} shouted. The plant grew [and grew|taller every day|past
{his} knees]. [In the summer|By the end of summer|Many weeks later], {h} had {result}.

[{f} came to see it.|{h} called {f} at once.] "[You took good care of it|You see, it only needed time|Well done],"
said {f}. {h} was {good}[, and {he} {shared}|].
""",
    rows={
        "plant result shared": [
            "sunflower; a sunflower taller than the fence; gave the seeds to the birds",
            "pumpkin; a big round orange pumpkin; made soup for everyone",
            "bean plant; a plant full of long green beans; cooked them for dinner",
            "strawberry plant; a plant full of sweet red berries; gave the first berry to {f}",
            "tomato plant; a plant full of shiny red tomatoes; shared them with the {people}",
            "rose bush; a bush full of pink roses; gave the best rose to {f}",
            "apple tree; a little tree with three white blossoms; promised to water it for many years",
        ],
        "silly no": [
            "singing to it; the seed did not care for music",
            "shouting at it; that did not help at all",
            "covering it with a blanket; it stayed under the earth",
            "telling it a bedtime story; not one leaf came out",
            "dancing around it; the earth stayed bare",
        ],
        "trouble": [
            "",
            "Once the wind blew hard, so {he} built a little wall of stones.",
            "Once it was very hot, so {he} gave it extra water.",
            "When weeds came, {he} pulled them out one by one.",
        ],
    },
)

plot(
    "race",
    "friend try",
    "The Great Race",
    "a race",
    """
{day}, there was a race [around the lake|to the old oak tree|from the bridge to the mill|over the green hill].
[Everyone wanted to win.| Everyone came to watch.] {h} [had practiced every day|wanted to run too|was not very fast,
but {he} wanted to try]. ["I am going to win," said {f_boast}.|"You are too slow," said {f_boast}.] {h} [said
nothing|only smiled|took a deep breath].

"[Ready, set, go|One, two, three, go]!" They all [began to run|ran off]. {h} ran [as fast as {he} could|with all {his}
strength]. [At first {he} was last.|Soon {he} was in the middle.] [{he} stumbled over a root, but {he} got up
again.|{his} legs hurt, but {he} did not stop.] {he} passed [one runner, then another|three runners, one by one].

[Near the end|Halfway along the path], {h} saw {fi} sitting on the ground. {f} [had hurt {fhis} foot|had twisted
{fhis} ankle|had fallen into a muddy hole]. [All the others ran past.|Nobody else stopped.] {h} [looked at the finish,
and then at {f}|wanted to win, but {he} could not leave {f} there]. {he} stopped. "[Lean on me|Let me help you|Take my
{hand}]," said {h}. "We will finish together."

They came in last, [step by step|side by side]. But when they [crossed the line|reached the end], everyone [clapped
and cheered|cheered loudly]. [{f_boast} had won the race, but {h} got the loudest cheer.|"That was the kindest thing I
saw today," said the judge.] {f} smiled and said, "[You are a true friend|I will never forget this|Thank you for
stopping]."
""",
    rows={"f_boast": ["a tall hare", "a proud deer", "a quick young goat", "a long-legged hare"]},
)

plot(
    "gift",
    "share friend",
    "A Gift for {f}",
    "a birthday gift",
    """
[{fin} had a birthday the next day|In two days it would be the birthday of {fin}|The birthday of {fin} was coming
soon], and {h} [had no gift|did not know what to give]. [{he} had only two small coins.| {His} pockets were empty.|In
the shop, everything cost too much.] "[What can I give to someone I like so much|What does {f} like best]?" {h}
wondered.

[First|At first], {he} tried to make {try1}, but {fail1}. [Then|Next,] {he} tried to make {try2}, but {fail2}. [{h}
was {bad}.|"This is harder than I thought," said {h}.|{h} sat down and put {his} chin in {his} lap.] {He} looked
around the room and saw {stuff}. [That gave {him} an idea.|"Of course!" {he} said.|{His} eyes grew bright.]

{h} worked all [evening|afternoon]. {he} [cut and folded|measured and tied|worked slowly and carefully], and at last
{he} had made {made}. [It was a little crooked, but it was pretty.|It was not perfect, but it was made with love.]

The next day {h} gave it to {f}. {f} [opened the box slowly|looked at it for a long time|opened it and smiled]. "[Did
you make this yourself|You made this for me]?" {fhe} asked. {h} nodded. "[It is the best gift of all|I love it|I will
keep it forever]," said {f}[, and gave {h} a big hug|].
""",
    rows={
        "try1 fail1": [
            "a cake; it burned in the oven",
            "a clay bowl; it cracked in the sun",
            "a woolen hat; it was far too small",
            "a flower crown; the flowers wilted",
            "a wooden spoon; it broke in two",
        ],
        "try2 fail2": [
            "a drawing; {he} spilled water on it",
            "a song; {he} forgot the words",
            "a paper bird; it would not stand up",
            "a candle; the wax was too soft",
            "a pillow; the feathers flew everywhere",
        ],
        "stuff made": [
            "a box of shells; a necklace of shells",
            "some colorful leaves; a picture of {f} made of leaves",
            "a pile of old buttons; a button bracelet",
            "a piece of soft blue cloth; a warm blue scarf",
            "some smooth stones; a set of painted stones",
            "an empty jar; a lantern covered with paper stars",
            "some old wood; a small wooden boat",
            "bits of colored yarn; a soft yarn doll",
        ],
    },
)

plot(
    "sound",
    "wonder brave",
    "The Strange Sound",
    "a strange sound",
    """
{day}, {h} heard a strange sound. "{noise}," it went. [{he} stopped and listened.|{h} looked around, but {he} saw
nothing.] "{noise}," it went again. ["What could that be?" {h} wondered.|"Is it a monster?" {h} whispered.|{h} felt a
little afraid, but also curious.]

{h} [looked behind the shed|looked under a bush|put {his} ear to the ground], but [there was nothing there|there was
only a beetle|it was not coming from there]. {he} [ran to|went to|fetched] {fi}. ["Do you hear that?" {h}
asked.|"There is something strange out there," {h} said.] {f} listened. "[It is coming from|I think it comes from]
{place}," {fhe} said. "[Let us go and see|We can look together]."

[Slowly|On quiet feet|Step by step], they [crept closer|walked toward the sound]. {noise}! It was very near now. {h}
[took a deep breath|was scared, but {he} took one more step] and looked. It was [only|not a monster at all. It was]
{cause}! {h} [laughed out loud|began to laugh|smiled].

{fix} ["And I thought it was something terrible!" said {h}.|"Things are less scary when you look at them," said
{f}.|They both laughed all the way home.]
""",
    rows={
        "noise place cause fix": [
            "Tap, tap, tap; the old barn; a loose board that knocked in the wind; They tied the board with a piece "
            "of rope, and the"
            " tapping stopped.",
            "Squeak, squeak; the tall grass; a baby mouse that had lost its way; They carried it back to its nest.",
            "Plip, plop, plip; the cellar; a pipe that dripped into a bucket; They turned the tap, and it was "
            "quiet again.",
            "Rattle, rattle; the garden shed; a tin can that rolled in the wind; They picked it up and put it away.",
            "Whooo, whooo; the hollow tree; the wind blowing across a hole; They put their ears to the tree and "
            "listened to its song.",
            "Crunch, crunch; the other side of the hedge; a hungry goat that was eating the carrots; They led it "
            "gently back to its field.",
            "Thump, thump, thump; the attic; a bird that could not find the window; They opened the window wide, and "
            "it flew away.",
            "Hic, hic, hic; the reeds by the pond; a small frog with the hiccups; They gave it a friendly pat, and "
            "the hiccups stopped.",
            "Meow, meow; the top of the wall; a kitten that could not get down; They held up a blanket, and the "
            "kitten jumped.",
        ],
    },
    **{"not": "mouse frog kitten cat"},
)

plot(
    "skill",
    "try",
    "{h} Learns to {skill}",
    "learning to {skill}",
    """
[All of {his} friends could {skill}, but {h} could not.|More than anything, {h} wanted to {skill}.|{h} wished that
{he} could {skill}.] {day}, {he} decided [to learn|to try]. "[It cannot be that hard|Today is the day]," {he} said.

[The first time|On {his} first try], {oops1}. The second time, {oops2}. [Somebody laughed, and {h} felt {bad}.|"I will
never learn it," said {h}.|{h} was ready to give up.] [Then|Just then], {fi} [sat down next to {him}|came over]. "[Do
you know how many times I tried before I could do it|How often do you think I had to try]?" {f} asked. "[More than
twenty times|A hundred times, at least|So often that I cannot count it]! [Here is a tip.|Listen.|Try this.] {tip}."

{h} [nodded|listened carefully|took a deep breath] and tried again. [It was a little better.|This time it almost
worked.] {he} practiced [every day|every morning before breakfast|all week long]. [Some days were good, and some days
were not.|Little by little, it became easier.] And then, [one day|one fine morning|at last], {success}! "[I did
it!|Look at me!|I can do it!]" cried {h}. {f} [clapped|cheered|smiled proudly]. {h} was so {good2} that {he} [did it
again and again|did it ten more times].
""",
    rows={
        "skill oops1 oops2 tip success": [
            "swim; {he} swallowed a mouthful of water; {he} sank like a stone; Lie on your back first, and let the "
            "water hold you;"
            " {he} swam all the way across the pond",
            "whistle; only air came out; {he} blew so hard that {he} got dizzy; Make your lips small and blow gently;"
            " a clear, high whistle came out",
            "skate; {he} fell on {his} bottom; {he} slid into a pile of snow; Bend your knees and look ahead; {he} "
            "went all around the pond"
            " without falling",
            "read; the letters danced before {his} eyes; {he} mixed up two words; Go slowly, one word at a "
            "time; {he} read a whole page alone",
            "juggle; both balls fell on the floor; one ball landed in the soup; Start with one ball and watch it "
            "closely; three balls"
            " were flying through the air",
            "ride a bicycle; {he} tipped over at once; {he} rode into a bush; Look ahead, not down; {he} rode all "
            "the way to the gate",
            "dance; {he} stepped on {his} own feet; {he} spun around and fell down; Listen to the music first; {his} "
            "feet moved just right",
            "knit; the wool made a big knot; {he} dropped half of the loops; Keep the thread loose; {he} held up a "
            "small red scarf",
            "play the flute; it made an ugly squeak; there was no sound at all; Blow softly across the hole; a "
            "sweet, clear note came out",
            "jump rope; the rope hit {his} toes; the rope got tangled; Jump when you hear it touch the ground; {he} "
            "jumped twenty times",
            "skip stones; the stone sank with a plop; the stone flew the wrong way; Pick a flat stone and throw it "
            "low; the stone"
            " jumped five times",
        ],
        "good2": ["happy", "proud", "pleased"],
    },
    **{"not": "otter duck frog turtle penguin beaver"},
)
