"""Plots, fourth part: kitchens, tents, echoes, and other small wonders."""

from qig_edge.corpus.plots import collection

PLOTS, plot = collection()


plot(
    "cook",
    "share try help",
    "The {dish}",
    "cooking {dish}",
    """
{day}, {h} decided to make {dish} [for dinner|for {his} {people}|all by {himself}]. {he} put on {his} apron and read
the recipe. [It did not look hard.|"That is easy," said {h}.]

{he} [mixed|stirred] and [tasted|hummed a little song]. But {mistake}. [{h} took one bite and made a face.|"Oh no,
this tastes terrible!" said {h}.] [{he} tried to make it better with {wrong}, but that only made it worse.|{h} threw
{his} spoon on the table and sighed.]

{fi} [smelled something odd and came in|looked in through the door|came to see how it was going]. "[What happened
here?|May I taste it?]" asked {f}. {h} [told {fhim} everything|showed {fhim} the pot]. {f} did not laugh. "[Every cook
makes mistakes|That happens to all of us]," said {f}. "[Let us start again|We will make a new one], and this time we
will {rule}."

So they began again. {f} [measured|washed the bowls], and {h} stirred. Soon the whole [house|kitchen] smelled
[wonderful|delicious]. [When it was ready, they called everyone to the table.|They set the table and put flowers on
it.] "[This is delicious|You must make this again|What a wonderful dinner]," said {someone}. {h} [smiled proudly|was
{good}].
""",
    rows={
        "dish mistake wrong rule": [
            "soup; {he} put in too much salt; sugar; taste it after each pinch of salt",
            "pancakes; {he} forgot the eggs; more flour; read every line of the recipe",
            "vegetable stew; {he} let it burn at the bottom; cold water; keep stirring",
            "apple pie; {he} used salt instead of sugar; lemon juice; look at the label on every jar",
            "bread; {he} forgot the yeast, and it came out as hard as a stone; butter; let the dough rest until "
            "it grows",
            "carrot soup; {he} added pepper three times; milk; put in only a little at a time",
            "noodles; {he} cooked them until they turned to mush; cheese; watch the clock",
            "rice pudding; {he} fell asleep and it stuck to the pot; honey; stay by the stove",
        ],
        "someone": ["{f}", "the old neighbor", "one of the guests"],
    },
)

plot(
    "visit",
    "friend share",
    "A Visit to {f}",
    "a visit to a sick friend",
    """
{day}, {h} heard that {fin} was [ill|sick in bed|not feeling well]. "[Poor {f}!|Oh, poor {f}!]" said {h}. "I will
[visit {fhim}|cheer {fhim} up]." {he} packed a basket with {item1}, {item2}, and {item3}, and set off.

On the way, {block}. {h} [tried to go around it, but the ground was too muddy|called for help, but nobody was
there|thought about turning back]. "[But {f} is waiting|I must not give up]," {he} thought. So {he} {solve}. [The
basket got a little wet, but everything inside was safe.|It took a long time, but at last {he} was on {his} way
again.]

{f} was lying in bed with a [red nose|scarf around {fhis} neck]. "[Atchoo|Achoo]!" said {f}. "[You came all this
way|Oh, {h}, is it really you]?" "Of course," said {h}. {he} [opened the window a little|shook up the pillow|made a
pot of hot tea]. Then they [ate together|looked at a picture book|played a quiet game of cards], and {h} told a story
so funny that {f} laughed [out loud|until the bed shook].

"I feel better already," said {f}. [A few days later|After a few days], {f} was well again. [And the first thing {fhe}
did was visit {h}.|"Now it is my turn to visit you," said {f}.]
""",
    rows={
        "item1": ["warm bread", "apple cake", "a pot of soup", "fresh rolls"],
        "item2": ["a jar of honey", "three oranges", "a lemon", "some sweet grapes"],
        "item3": ["a book of stories", "a bunch of flowers", "a soft blanket", "a funny drawing"],
        "block solve": [
            "a tree had fallen across the path; climbed over it branch by branch",
            "the little bridge was gone; laid a long board from one bank to the other",
            "a big puddle covered the road; put flat stones in the water and hopped from one to the next",
            "the gate was locked; crawled through a small gap in the hedge",
            "a thick fog came down; followed the stone wall with one {hand} until the fog was gone",
        ],
    },
    friend="named",
)


plot(
    "echo",
    "wonder friend",
    "The Voice in the Valley",
    "an echo",
    """
{day}, {h} walked to a deep valley and called, "Hello!" "Hello!" called a voice from far away. {h} looked around, but
there was nobody. "Who is there?" {he} called. "Who is there?" the voice called back. "Stop that!" shouted {h}. "Stop
that!" shouted the voice.

{h} was [cross|angry]. {he} ran home and found {fi}. "There is someone in the valley who [mocks me|copies me and will
not come out]," {he} said. {f} [smiled|laughed quietly]. "[Let us go there together|Show me]," {fhe} said, "and this
time, say something kind."

So they went back to the valley. {h} [took a deep breath|felt a little silly]. "{same}!" {he} called. "{same}!" the
voice answered softly. "[Come and play|Let us be friends]!" called {f}. And the valley called the same words back to
them.

"That is an echo," said {f}. "Your own voice [flies to the rocks|hits the rocks] and comes back to you. [If you shout
angry words, you hear angry words.|If you call something kind, you hear something kind.]" {h} [laughed and sang a
whole song, and the valley sang along|thought about this all the way home]. [After that, {he} always had a friendly
word for the valley.|"It is the same with people," {he} said at last.]
""",
    rows={"same": ["You are nice", "I like you", "You have a lovely voice", "I wish you a good day"]},
)

plot(
    "tooth",
    "brave wonder",
    "The Loose Tooth",
    "a loose tooth",
    """
{day}, {h} felt something strange. One of {his} teeth [was loose|moved when {he} touched it]. "[Oh no|Help]!" said
{h}. "My tooth is falling out! [What if it hurts?|Will I ever eat an apple again?]" {He} [decided not to eat anything
hard|held {his} mouth shut all morning].

At lunch there was {food}. {h} [only looked at it|took a tiny bite and stopped]. {he} tried to {avoid}, but [that was
not easy at all|the tooth wobbled even more]. [By evening, {h} was hungry and {bad}.|{h} was so worried that {he} did
not want to play.]

{fi} saw {his} sad face. "[What is the matter|Why are you not eating]?" asked {f}. {h} pointed at the tooth. "Oh, how
wonderful!" said {f}. "[Look, I lost one too|That happened to me, too], and a new one came. A loose tooth means that
you are growing."

The next morning {h} [bit into a soft piece of bread|laughed at a joke that {f} told], and plop! There was the tooth,
[in {his} {hand}|on the plate]. It had not hurt at all. {h} [ran to the mirror and smiled at the gap|put the tooth in
a little box]. "[Look, I can whistle through it|Now I am a little bigger]!" {he} said.
""",
    who="child",
    rows={
        "food": ["crunchy carrots and fresh bread", "corn and beans", "a bowl of crisp apples", "toast with cheese"],
        "avoid": ["chew on one side", "drink only soup", "eat with {his} lips"],
    },
)

plot(
    "egg",
    "wonder help",
    "The Mysterious Egg",
    "a mysterious egg",
    """
{day}, {h} found an egg [in the grass|under a bush|beside the path]. It was {look}. "[Who lost you|Where is your
nest]?" {h} asked. [The egg, of course, said nothing.|There was no nest to be seen.] {h} wrapped it in {wrap} so that
it would stay warm.

{he} asked {w1}, but {w1p} only said, "[That is not mine|I have never seen an egg like that]." {he} asked {w2}, but
{w2p} [did not know either|only shrugged]. [The evening came, and the air grew cold.|Soon it was getting dark.] "[I
will not leave you alone|I will keep you warm]," {h} told the egg. {he} stayed awake [all night|as long as {he}
could].

In the morning {fi} came by. "[What do you have there|What is that]?" asked {f}. [Just then|At that moment] there was
a small sound. Crack! A line ran across the egg. Crack, crack! [A tiny beak came out|A little head came out], and then
a wet little {chick}. "Peep!" it said, and it looked straight at {h}. "[It thinks that you are its mother|It likes
you]!" said {f}, laughing.

[Together they carried the little one to the pond|They walked along the water with the little one], and there {mother}
was calling and calling. "[My baby|There you are]!" she cried. [The {chick} ran to her at once.|The {chick} hurried to
her on its tiny feet.] {h} [waved|was glad and a little sad]. But every [day|week] after that, the {chick} came to
[say hello|visit].
""",
    rows={
        "look": ["blue with brown spots", "big and white", "pale green and smooth", "round and cream colored"],
        "wrap": ["a scarf", "some soft wool", "a warm hat"],
        "w1 w1p": ["the old crow; the crow", "a busy hen; the hen"],
        "w2 w2p": ["a turtle; the turtle", "the farmer; the farmer"],
        "chick mother": ["duckling; a mother duck", "gosling; a mother goose", "cygnet; a mother swan"],
    },
    **{"not": "duck turtle"},
)

plot(
    "camp",
    "brave friend",
    "A Night in the Tent",
    "a night in a tent",
    """
{day}, {h} and {fi} put up a tent [in the garden|at the edge of the meadow]. "[Tonight we will sleep outside|We will
sleep under the stars]!" said {h}. They [took two blankets and a lantern|brought pillows, a lantern, and a bag of
nuts]. [At first the tent fell down, but then they pulled the ropes tight.|It took three tries before the tent stood.]

When it was dark, they lay down and listened. "[What was that|Did you hear that]?" whispered {f}. Something went
{noise}. {h} [held the blanket tight|felt {his} heart beat fast]. "[Maybe it is only the wind|It is nothing]," {he}
said, but {he} was not so sure. {noise}, it went again, much closer. A big shadow [moved over|fell on] the wall of the
tent.

"[Shall we run|Shall we go inside]?" asked {f}. {h} [thought about it|wanted to say yes]. Then {he} took the lantern,
and together they looked out. There was {what}! Its shadow had only looked so big because [of the moonlight|the moon
was behind it]. [They both laughed until they had to sit down.|"So you are our monster!" said {h}.]

They gave it [a nut|a bit of apple], and it [sat with them for a while|trotted away into the dark]. Then they [lay
down again|looked up at the stars] and talked about [the moon|everything they would do in the summer] until they fell
asleep. [In the morning, they were very proud.|"Let us do it again," said {f} at breakfast.]
""",
    rows={
        "noise what": [
            "snuffle, snuffle; a tiny hedgehog",
            "rustle, rustle; a little rabbit",
            "scratch, scratch; a young cat",
            "tap, tap; a small bird that was looking for crumbs",
        ]
    },
    **{"not": "hedgehog rabbit cat kitten"},
)

plot(
    "baby",
    "home",
    "The New Baby",
    "a new baby",
    """
One day there was a new baby in {h}'s house. [Everybody came to see it.|Everyone whispered and smiled.] "[What a sweet
baby|How small it is]!" they all said. Nobody looked at {h}. [Mom was tired, and Dad was busy.|When {h} wanted to
play, the answer was always, "Not now."]

{h} tried to {show1}, but {no1}. {he} tried to {show2}, but [the baby woke up and cried|Dad told {him} to be quiet].
{h} went [out into the garden|to {his} room] and felt {bad}. "[Nobody needs me anymore|They have forgotten me]," {he}
said.

{fi} sat down beside {him}. "Do you know who the baby looks at the most?" asked {f}. "It is you. When you walk by, its
eyes follow you." {h} [did not believe it|looked up]. "[Go and see|Try it]," said {f}.

That evening, the baby cried and cried. [Mom rocked it, and Dad sang, but nothing helped.|Nothing could make it stop.]
{h} went to the little bed and {did}. The baby stopped. It looked at {him} with big eyes, and then it smiled its very
first smile. "[It smiled at me|Did you see that]!" {h} cried. Mom put her arm around {him}. "We are so lucky to have
you," she said.
""",
    who="child",
    rows={
        "show1 no1": [
            "show a new drawing; nobody had time to look",
            "tell a story; nobody listened",
            "show a somersault; nobody was watching",
        ],
        "show2": ["play the drum", "sing a loud song", "jump from the chair"],
        "did": ["hummed a quiet song", "made a funny face", "played with {his} hands behind a cloth"],
    },
    opening="plain",
)

plot(
    "band",
    "friend try",
    "The Little Band",
    "a little band",
    """
{day}, {h} and {fi} wanted to make music. {h} had {a1}, and {f} had {a2}. "[Let us start a band|We will play at the
summer party]!" said {h}. They began to play, both at once and as loud as they could. It was terrible! [The birds flew
out of the trees.|A neighbor closed all the windows.]

"[You play too fast|You are too loud]!" said {h}. "[No, you play too slow|No, you are much too loud]!" said {f}. They
tried again, and {h} played even louder. Then {f} played even louder, too. [Soon they both had sore ears.|It sounded
like a storm of pots and pans.] They [put down their things and did not speak|stopped and frowned].

[After a while|In the silence], {h} heard {soft}. It had a beat, steady and slow. ["Listen," {he} said.|"Do you hear
that?" {he} asked.] {f} listened, too. {h} began to play along, very softly. Then {f} [joined in|came in], just as
softly. For the first time, they [could hear each other|listened to each other]. And it sounded [lovely|beautiful].

[They practiced every evening for a week.|After that, they met every day to play.] At the summer party, [everyone
danced|everybody tapped their feet], and the old {old} [even sang along|danced on a table]. "[What is your secret|How
did you learn to play like that]?" somebody asked. "[We learned to listen|First you listen, and then you play]," said
{h}.
""",
    rows={
        "a1": ["a drum made from a pot", "an old guitar", "a little drum"],
        "a2": ["a wooden flute", "two small bells", "a tin whistle"],
        "soft": ["the drip of water from the roof", "the tapping of a woodpecker", "the tick of the old clock"],
        "old": ["baker", "miller", "shoemaker"],
    },
)

plot(
    "parade",
    "help share try",
    "The Lantern Parade",
    "a lantern parade",
    """
Tonight was the lantern parade, and everyone had made a lantern. {h} had made one in the shape of {shape}. It had
taken {him} [five days|a whole week]. {He} [could hardly wait|counted the hours]. But when {he} took it from the
shelf, {accident}. The lantern was [torn|crushed] and bent.

{h} tried to smooth the paper, but [it tore even more|it would not stay flat]. {he} looked for new paper, but [there
was none left in the house|the shop was already closed]. "[I cannot go|The parade will start without me]," said {h},
and {he} [sat down on the step|sat in the dark] and felt {bad}. [Outside, the others were already singing.|Far away,
the first drums began.]

Then {fi} came up the path with a bright lantern. "[Are you not coming|Why are you sitting here]?" asked {f}. {h}
showed {fhim} the broken one. {f} thought for a moment. {f_idea} [They worked as fast as they could.|It took only a
few minutes.] When they put a light inside, it [glowed like a little moon|shone warm and gold].

They [ran down the hill and joined the others|came just in time]. [Side by side they walked through the dark,
singing.|Everyone turned to look at the unusual lantern.] "I like this one even better," said {h}. "That is because we
made it together," said {f}, and {fhis} eyes [shone, too|were bright].
""",
    rows={
        "shape": ["a fish", "a star", "a boat", "the moon", "an owl"],
        "accident": [
            "it slipped and fell down the stairs",
            "a gust of wind threw it against the wall",
            "{he} tripped over the rug and fell on it",
        ],
        "f_idea": [
            "{FHe} fetched an old jar and some dry leaves, and they stuck the leaves all around the glass.",
            "{FHe} found a big turnip, and they made a small round window in it.",
            "{FHe} took a tin can and made little holes all over it, like stars.",
        ],
    },
    opening="plain",
)

plot(
    "patience",
    "try wonder home",
    "Waiting for {what}",
    "waiting for {what}",
    """
{h} was waiting for {what}. [{he} looked out of the window ten times before breakfast.|{he} asked about it every
morning.] "[Is it today|How much longer]?" {h} asked {fi}. "[Not yet|Soon]," said {f}. "{days} more days." {h}
groaned. [To {h}, that sounded like a hundred years.|Waiting was the hardest thing in the world.]

On the first day, {h} sat on the step and did nothing but wait. The day was [very long|as long as a week]. On the
second day, {he} tried to sleep so that the time would pass, but [{he} was not tired|{he} could not keep {his} eyes
shut]. "[This is terrible|The clock has stopped, I am sure of it]," {he} said.

"[Waiting is easier when you are busy|Time runs when you do not watch it]," said {f}. "[Come and help me|Let us do
something together]." So they {did1}. The next day they {did2}. {h} [sang while {he} worked|laughed a lot], and [{he}
forgot to look at the clock|the hours flew by].

And then, one morning, {f} [called from the door|came running]. "{h}! [Come quickly|Look outside]!" {arrive} {h}
[danced around and around|jumped up and down]. "[And I almost forgot that I was waiting|It came so fast in the end]!"
{he} said.
""",
    rows={
        "what arrive": [
            "the first strawberries; The little red berries were shining in the sun.",
            "the summer fair; There were tents and flags and music everywhere.",
            "the first snow; Big white flakes were falling from the sky.",
            "the swallows; They flew around the roof and sang.",
            "a package from the city; Inside was a book with a picture on every page.",
        ],
        "days": ["Five", "Four", "Six"],
        "did1": ["washed all the windows", "painted the old fence", "baked bread", "built a house for the birds"],
        "did2": [
            "planted beans in the garden",
            "sorted a whole box of buttons",
            "read three books aloud",
            "made a boat from bark",
        ],
    },
    opening="plain",
)
