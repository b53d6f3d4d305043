"""Write a small synchronous English-German corpus: our own grammar, our own lexicon, one seed.

A translation trainer needs a corpus that ships with it, that anyone may use, and that is hard in
the ways real translation is hard: agreement, word order, compounds, copied names. So both sides
of every pair are linearised from one abstract clause. Nothing is sampled after the clause is
fixed, and every English form has exactly one German rendering, so the target is a function of
the source and a small model can be expected to learn it.

House rules that keep that function single-valued: `you` is `du`; an English past or present
perfect is a German perfect, except that sein, haben, wissen, the modals and the passive auxiliary take the
preterite; time goes before manner before place; an indefinite object follows the place; a relative
clause on an object stands after the verb cluster.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

Pair = tuple[str, str]
CASES = ("nom", "acc", "dat", "gen")


def listing(text: str) -> list[str]:
    """A word list that reads as a line of text."""
    return text.split()


# ---------------------------------------------------------------------------------------------
# Lexicon. Noun entries: English[/irregular plural] German gender plural. Gender: m f n, with E for
# a genitive in -es; w / wn is a weak masculine in -en / -n. The plural is a suffix in dictionary
# notation (" umlauts the stem, - adds nothing), a whole word, or ! for a mass noun. The words after
# @ tag all nouns that follow; `_` stands for a blank.
# ---------------------------------------------------------------------------------------------
NOUNS = """
@person he
man/men Mann mE "er; boy Junge wn =; teacher Lehrer m -; student Student w =; pupil Schüler m -
doctor Arzt mE "e; lawyer Anwalt m "e; baker Bäcker m -; chef Koch m "e; gardener Gärtner m -
policeman/policemen Polizist w =; journalist Journalist w =; musician Musiker m -; pilot Pilot w =
artist Künstler m -; tourist Tourist w =; neighbour Nachbar wn =; colleague Kollege wn =
customer Kunde wn =; farmer Bauer wn =; expert Experte wn =; witness Zeuge wn =
thief/thieves Dieb mE e; soldier Soldat w =; president Präsident w =; guest Gast mE "e
waiter Kellner m -; judge Richter m -; engineer Ingenieur m e; mechanic Mechaniker m -
driver Fahrer m -; singer Sänger m -; scientist Wissenschaftler m -; author Autor m Autoren
director Direktor m Direktoren
@person she
woman/women Frau f en; lady Dame f n; waitress Kellnerin f nen; actress Schauspielerin f nen
nurse Krankenschwester f n; queen Königin f nen; princess Prinzessin f nen
@person
child/children Kind nE er; girl Mädchen n -
@kin he
father Vater m "; brother Bruder m "; son Sohn mE "e; uncle Onkel m -; grandfather Großvater m "
nephew Neffe wn =; friend Freund mE e; boss Chef m s
@kin she
mother Mutter f "; sister Schwester f n; daughter Tochter f "; aunt Tante f n; niece Nichte f n
grandmother Großmutter f "
@kin pl
parent Elternteil m Eltern
@animal
dog Hund mE e; cat Katze f n; horse Pferd nE e; bird Vogel m "; cow Kuh f "e
goat Ziege f n; rabbit Kaninchen n -; bear Bär w =; lion Löwe wn =; monkey Affe wn =
mouse/mice Maus f "e; duck Ente f n; goose/geese Gans f "e; donkey Esel m -; elephant Elefant w =
fox Fuchs mE "e
@food
apple Apfel m "; cake Kuchen m -; egg Ei nE er; potato/potatoes Kartoffel f n; roll Brötchen n -
tomato/tomatoes Tomate f n; soup Suppe f n; pizza Pizza f s; banana Banane f n; pear Birne f n
salad Salat m e; sausage Wurst f "e; carrot Karotte f n; biscuit Keks mE e; pancake Pfannkuchen m -
@food mass
bread Brot nE !; cheese Käse m !; rice Reis mE !; chocolate Schokolade f !; meat Fleisch nE !
@drink mass
coffee Kaffee m !; tea Tee m !; milk Milch f !; water Wasser n !; juice Saft mE !; beer Bier nE !
wine Wein mE !; lemonade Limonade f !; cocoa Kakao m !
@sport mass
football Fußball m !; tennis Tennis n !; chess Schach nE !; handball Handball m !
@reading thing
book Buch nE "er; newspaper Zeitung f en; novel Roman m e; magazine Zeitschrift f en
@reading
letter Brief mE e; article Artikel m -; report Bericht m e; poem Gedicht n e; story Geschichte f n
message Nachricht f en; text Text mE e; contract Vertrag m "e; form Formular n e
essay Aufsatz mE "e
@clothes thing
dress Kleid nE er; shirt Hemd nE en; coat Mantel m "; jacket Jacke f n; skirt Rock mE "e
hat Hut mE "e; scarf/scarves Schal m s; jumper Pullover m -; blouse Bluse f n; suit Anzug m "e
cap Mütze f n; belt Gürtel m -
@clothes thing pl
shoe Schuh mE e; boot Stiefel m -; glove Handschuh m e; sock Socke f n
@vehicle
car Auto n s; bicycle Fahrrad n "er; motorcycle Motorrad n "er; lorry Lastwagen m -; boat Boot nE e
tractor Traktor m Traktoren; bus Bus mX Busse; train Zug mE "e; ship Schiff nE e; taxi Taxi n s
tram Straßenbahn f en; aeroplane Flugzeug nE e
@device thing
computer Computer m -; radio Radio n s; television Fernseher m -; telephone Telefon n e
camera Kamera f s; washing_machine Waschmaschine f n; fridge Kühlschrank m "e; clock Uhr f en
lamp Lampe f n; printer Drucker m -; heater Heizung f en; oven Ofen m "; machine Maschine f n
@furniture thing
table Tisch mE e; chair Stuhl mE "e; bed Bett nE en; sofa Sofa n s; shelf/shelves Regal n e
cupboard Schrank mE "e; desk Schreibtisch mE e; carpet Teppich m e; armchair Sessel m -
mirror Spiegel m -; bench Bank f Bänke
@small thing
key Schlüssel m -; knife/knives Messer n -; spoon Löffel m -; fork Gabel f n; pen Stift mE e
ticket Ticket n s; map Landkarte f n; cup Tasse f n; glass Glas nE "er; bottle Flasche f n
vase Vase f n; plate Teller m -; bowl Schüssel f n; pot Topf mE "e; suitcase Koffer m -
box Kiste f n; basket Korb mE "e; bag Tasche f n; bucket Eimer m -; picture Bild nE er
photo Foto n s; umbrella Regenschirm m e; parcel Paket n e; ball Ball mE "e; ring Ring mE e
purse Geldbeutel m -; present Geschenk n e; towel Handtuch n "er; blanket Decke f n
pillow Kissen n -; passport Pass mE "e; ladder Leiter f n; guitar Gitarre f n; violin Geige f n
doll Puppe f n; candle Kerze f n; flower Blume f n; rose Rose f n; hammer Hammer m "
@part
door Tür f en; window Fenster n -; wall Wand f "e; roof Dach nE "er
@room place
kitchen Küche f n; garden Garten m "; room Zimmer n -; cellar Keller m -; office Büro n s
garage Garage f n; bathroom Badezimmer n -; flat Wohnung f en; bedroom Schlafzimmer n -
living_room Wohnzimmer n -; workshop Werkstatt f Werkstätten
@place public
cinema Kino n s; theatre Theater n -; museum Museum n Museen; park Park m s; school Schule f n
library Bibliothek f en; restaurant Restaurant n s; forest Wald mE "er; hotel Hotel n s
hospital Krankenhaus nE "er; church Kirche f n; café Café n s; zoo Zoo m s; village Dorf nE "er
supermarket Supermarkt m "e; bakery Bäckerei f en; pharmacy Apotheke f n; bank Bank f en
castle Schloss nE "er; factory Fabrik f en; city Stadt f "e; town_hall Rathaus nE "er
station Bahnhof m "e; airport Flughafen m "; beach Strand mE "e; lake See m n; sea Meer nE !
river Fluss mE "e; market Markt mE "e; university Universität f en; bus_stop Bushaltestelle f n
@sight
house Haus nE "er; tower Turm mE "e; bridge Brücke f n; tree Baum mE "e; mountain Berg mE e
street_lamp Straßenlampe f n; station_clock Bahnhofsuhr f en; island Insel f n; statue Statue f n
@event
concert Konzert nE e; exam Prüfung f en; meeting Besprechung f en; party Party f s;
trip Reise f n; class_trip Klassenfahrt f en
wedding Hochzeit f en; lecture Vorlesung f en; film Film mE e; game Spiel nE e; course Kurs mE e
birthday Geburtstag m e; exhibition Ausstellung f en; appointment Termin m e; journey Fahrt f en
@abstract
question Frage f n; problem Problem n e; answer Antwort f en; idea Idee f n; plan Plan mE "e
word Wort nE "er; rule Regel f n; mistake Fehler m -; task Aufgabe f n; joke Witz mE e
song Lied nE er; secret Geheimnis nX Geheimnisse; decision Entscheidung f en; prize Preis mE e
bill Rechnung f en; sentence Satz mE "e
"""

# Head noun: first parts with their linking element; gender, plural and tags are the head's.
COMPOUNDS = """
table: kitchen=Küchen garden=Garten wooden=Holz; cup: coffee=Kaffee tea=Tee
bottle: water=Wasser wine=Wein milk=Milch beer=Bier; glass: wine=Wein beer=Bier
knife: bread=Brot kitchen=Küchen
soup: vegetable=Gemüse tomato=Tomaten potato=Kartoffel onion=Zwiebel
cake: apple=Apfel birthday=Geburtstags chocolate=Schokoladen cherry=Kirsch
salad: potato=Kartoffel tomato=Tomaten; juice: apple=Apfel orange=Orangen
key: house=Haus car=Auto room=Zimmer cellar=Keller; door: kitchen=Küchen cellar=Keller car=Auto
window: kitchen=Küchen cellar=Keller; lamp: kitchen=Küchen desk=Schreibtisch
teacher: music=Musik art=Kunst sports=Sport piano=Klavier; driver: bus=Bus taxi=Taxi
director: school=Schul museum=Museums hotel=Hotel; exam: mathematics=Mathematik driving=Fahr
course: language=Sprach cookery=Koch; park: city=Stadt; library: university=Universitäts city=Stadt
ticket: train=Zug concert=Konzert; coat: winter=Winter rain+=Regen
jacket: winter=Winter leather=Leder; trip: business=Geschäfts
story: love=Liebes animal=Tier; song: love=Liebes folk=Volks; novel: crime=Kriminal love=Liebes
letter: love=Liebes; house: wooden=Holz holiday=Ferien; report: weather=Wetter
article: newspaper=Zeitungs; museum: art=Kunst toy=Spielzeug; shelf: book+=Bücher wine=Wein
room: hotel=Hotel guest=Gäste; tower: church=Kirch television=Fernseh; clock: kitchen=Küchen
market: Christmas=Weihnachts fish=Fisch; bridge: wooden=Holz railway=Eisenbahn
book: history=Geschichts art=Kunst; pot: flower+=Blumen; contract: work=Arbeits
basket: bread=Brot fruit=Obst; vase: flower=Blumen
"""

# Selectional classes that cut across the base tags.
CLASSES = """
translate: novel story poem article text letter book essay report love_letter crime_novel
write: letter novel article report poem story message text essay
layable: book newspaper letter key knife spoon fork pen ticket map photo towel blanket pillow magazine
layable: passport bread_knife house_key car_key
upright: cup glass bottle vase plate bowl pot suitcase lamp chair basket bucket coffee_cup wine_bottle
upright: flower_vase bread_basket
hang: picture clock mirror map kitchen_clock
base: table bed sofa chair cupboard shelf desk bench kitchen_table garden_table wooden_table
own: car bicycle motorcycle lorry boat tractor
ride: bus train ship taxi tram aeroplane
meal: soup egg potato rice meat vegetable_soup tomato_soup potato_soup onion_soup
baked: cake bread pizza roll biscuit apple_cake birthday_cake chocolate_cake cherry_cake
openable: door window box parcel bottle letter suitcase kitchen_window cellar_door wine_bottle car_door
shut: door window box suitcase kitchen_window cellar_door kitchen_door cupboard car_door
switch: computer radio television lamp washing_machine heater oven machine printer desk_lamp
tidy: kitchen room cellar office garage bathroom flat bedroom living_room workshop guest_room
buildable: house tower bridge wooden_house wooden_bridge church_tower school hospital castle
view: museum castle church zoo park exhibition art_museum toy_museum
wash: car dress shirt blouse plate cup towel bicycle glass sock
instrument: guitar violin
carry: suitcase box bag basket bucket ladder parcel table cupboard armchair umbrella
grown: question problem plan idea decision exam trip film appointment
tool: hammer ladder camera computer telephone printer washing_machine map
sign: contract letter form report work_contract
teach: rule question task problem word sentence plan
rent: flat car room house boat holiday_house bicycle garage
fix: car bicycle motorcycle lorry boat tractor radio television lamp clock washing_machine fridge
fix: printer camera heater computer table chair roof door
gift: book ring picture bicycle dress flower doll ball camera guitar scarf rose purse present
send: letter parcel message photo book present report love_letter
lend: book car bicycle pen umbrella suitcase hammer camera ladder history_book
attend: course exam meeting exhibition lecture language_course cookery_course trip class_trip
await: party trip concert wedding birthday exhibition film course class_trip game
prepare: party exam meeting trip lecture exhibition wedding business_trip mathematics_exam
cancel: appointment meeting concert trip wedding party course exam
care: child dog cat horse rabbit garden house guest nephew niece grandmother
fear: dog bear lion exam mouse elephant fox mathematics_exam driving_exam
heard: song story concert message joke love_song folk_song radio bird
steal: purse car bicycle camera picture ring suitcase passport
pack: suitcase bag
keep: car dog cat garden bicycle boat computer horse house idea plan camera
listed: story joke secret love_story animal_story
ordered: pizza soup salad cake sausage pancake tomato_soup onion_soup apple_cake potato_salad
award: prize game
mental: question problem answer idea plan rule decision sentence secret word
pet: dog cat horse
eatery: bakery café restaurant supermarket
"""

# English[/past/participle] [+particle | _preposition | rest]; German inf,du/er-stem,participle with *
# for sein and | after a separable prefix; frame; object class; flags.
# Frames: i intransitive, t accusative, d dative, g dative + accusative, p prepositional object,
# r reflexive, R dative reflexive + accusative, q reflexive + prepositional object.
# Flags: S no progressive, P place, D duration, G with gern, I imperative, X passive, A animal
# subject, T `to` dative, and manner adverbs q quickly s slowly c carefully l quietly o loudly w well.
VERBS = """
read/read/read; lesen,lies,gelesen; t; reading; PGIXcs
write/wrote/written; schreiben,,geschrieben; t; write; PGIXqc
buy/bought/bought; kaufen; t; clothes small reading:thing device furniture food vehicle:own; IX
sell/sold/sold; verkaufen; t; vehicle:own device furniture house; X
repair; reparieren; t; fix; IXqc
eat/ate/eaten; essen,iss,gegessen; t; food; PGIsq
drink/drank/drunk; trinken,,getrunken; t; drink; PGIsq
cook; kochen; t; meal; PGI
bake; backen,,gebacken; t; baked; PGI
visit; besuchen; t; person kin view; IX
see/saw/seen; sehen,sieh,gesehen; t; person kin animal sight ride; SN
hear/heard/heard; hören; t; heard; SPN
find/found/found; finden,,gefunden; t; small; PXN
lose/lost/lost; verlieren,,verloren; t; small; PN
look/looked/looked _for; suchen; t; small person kin animal; P
forget/forgot/forgotten; vergessen,vergiss,vergessen; t; small grown; IN
need; brauchen; t; tool clothes small; SH
know/knew/known; kennen,,gekannt; t; person kin song sight; SHw
love; lieben; t; kin animal song; SH
understand/understood/understood; verstehen,,verstanden; t; teach reading; SHw
answer; beantworten; t; question letter message; IXqc
paint; malen; t; picture tree flower house bird cat castle; PGIX
photograph; fotografieren; t; sight animal castle church; GX
wash/washed/washed; waschen,wäsch,gewaschen; t; wash; IXc
clean; putzen; t; tidy window; IX
feed/fed/fed; füttern; t; animal; GIX
carry; tragen,träg,getragen; t; carry; XIcs
use; benutzen; t; tool; X
sign; unterschreiben,,unterschrieben; t; sign; IXq
translate; übersetzen,,übersetzt; t; translate; IXqc
open; öffnen; t; openable; IXcsql
close; schließen,,geschlossen; t; shut; IXlqc
tidy +up; auf|räumen; t; tidy; IXq
pick +up; ab|holen; t; kin child guest parcel; I
call; an|rufen,,gerufen; t; person kin; I
invite; ein|laden,läd,geladen; t; person kin; IX
switch +on; ein|schalten; t; switch; IX
switch +off; aus|schalten; t; switch; IX
unpack; aus|packen; t; pack box parcel present; IXqs
pack; packen; t; pack; IXqs
fill +in; aus|füllen; t; form; IXcq
put/put/put +on; an|ziehen,,gezogen; t; clothes; Iq
bring/brought/brought +along; mit|bringen,,gebracht; t; food drink guitar camera; I
throw/threw/thrown +away; weg|werfen,wirf,geworfen; t; letter newspaper shoe bottle ticket magazine; IX
prepare; vor|bereiten,,bereitet; t; prepare; IXcw
cancel/cancelled/cancelled; ab|sagen; t; cancel; X
celebrate; feiern; t; birthday wedding; P
steal/stole/stolen; stehlen,stiehl,gestohlen; t; steal; XN
build/built/built; bauen; t; buildable; X
sing/sang/sung; singen,,gesungen; t; song; PGIol
play; spielen; t; sport; PGw
order; bestellen; t; ordered drink; I
pay/paid/paid; bezahlen; t; bill; IX
rent; mieten; t; rent; X
solve; lösen; t; problem task; IXq
describe; beschreiben,,beschrieben; t; picture house thief problem; IXc
correct; korrigieren; t; mistake essay text sentence article report; IXcq
meet/met/met; treffen,triff,getroffen; t; person kin; P
ask; fragen; t; person kin; I
win/won/won; gewinnen,,gewonnen; t; award; SN
have/had/had; haben; t; keep; SH
wear/wore/worn; tragen,träg,getragen; t; clothes; G
tell/told/told; erzählen; t; listed; X
look/looked/looked _at; an|sehen,sieh,gesehen; R; picture photo film house map exhibition; Ic
help; helfen,hilf,geholfen; d; person kin; GI
thank; danken; d; person kin; I
congratulate; gratulieren; d; person kin; I
listen _to; zu|hören; d; person kin; GI
trust; vertrauen; d; person kin; SH
follow; folgen,,gefolgt*; d; person animal; Is
forgive/forgave/forgiven; verzeihen,,verziehen; d; person kin; I
give/gave/given; geben,gib,gegeben; g; gift key lend; I
show/showed/shown; zeigen; g; picture photo house map garden room ticket passport; I
lend/lent/lent; leihen,,geliehen; g; lend; I
send/sent/sent; schicken; g; send; I
bring/brought/brought; bringen,,gebracht; g; cup drink book bowl key parcel chair; I
buy/bought/bought; kaufen; g; gift; I
read/read/read; vor|lesen,lies,gelesen; g; story poem letter love_letter animal_story; IG
tell/told/told; erzählen; g; listed; IG
explain; erklären; g; teach; IT
recommend; empfehlen,empfiehl,empfohlen; g; book film restaurant hotel course novel; IT
return; zurück|geben,gib,gegeben; g; lend key; IT
wait _for; warten,,,auf+acc; p; ride kin guest letter answer; PDI
think/thought/thought _about; nach|denken,,gedacht,über+acc; p; grown; PDIG
talk _about; sprechen,sprich,gesprochen,über+acc; p; grown person reading; PDG
dream _of; träumen,,,von+dat; p; trip house boat horse wedding holiday_house; GN
ask _for; bitten,,gebeten,um+acc; p; answer map bill glass key;
take/took/taken part _in; teil|nehmen,nimm,genommen,an+dat; p; attend; G
look/looked/looked _after; auf|passen,,,auf+acc; p; care; IDG
laugh _about; lachen,,,über+acc; p; joke mistake story film idea;
remember; erinnern,,,an+acc; q; person kin film trip song sight; SHw
look/looked/looked forward _to; freuen,,gefreut,auf+acc; q; await; SH
be/was/been interested _in; interessieren,,,für+acc; q; book film exhibition castle language_course novel; SH
take/took/taken care _of; kümmern,,,um+acc; q; care; I
complain _about; beschweren,,beschwert,über+acc; q; meal bill room decision film hotel meeting; o
be/was/been afraid _of; fürchten,,,vor+dat; q; fear; SH
say/said/said goodbye _to; verabschieden,,verabschiedet,von+dat; q; person kin; I
apologise _to; entschuldigen,,entschuldigt,bei+dat; q; person kin; I
get/got/got used _to; gewöhnen,,gewöhnt,an+acc; q; flat rule school city; s
hurry; beeilen,,beeilt; r; ; I
rest; aus|ruhen; r; ; PDI
sit/sat/sat down; hin|setzen; r; ; I
get/got/got changed; um|ziehen,,gezogen; r; ; Iq
get/got/got lost; verlaufen,verläuf,verlaufen; r; ; PN
catch/caught/caught a_cold; erkälten,,erkältet; r; ; SN
get/got/got dressed; an|ziehen,,gezogen; r; ; Iq
relax; entspannen,,entspannt; r; ; PDIw
calm down; beruhigen,,beruhigt; r; ; Isq
sleep/slept/slept; schlafen,schläf,geschlafen; i; ; PDAw
work; arbeiten; i; ; PDGIqcs
laugh; lachen; i; ; Ool
cry; weinen; i; ; DloN
dance; tanzen; i; ; PDGw
swim/swam/swum; schwimmen,,geschwommen*; i; ; Gqsw
wait; warten; i; ; PDI
smoke; rauchen; i; ; P
cook; kochen; i; ; PGw
sing/sang/sung; singen,,gesungen; i; ; PDGow
get/got/got up; auf|stehen,,gestanden*; i; ; Is
wake/woke/woken up; auf|wachen,,gewacht*; i; ; AN
fall/fell/fallen asleep; ein|schlafen,schläf,geschlafen*; i; ; SAqN
come/came/come back; zurück|kommen,,gekommen*; i; ; I
arrive; an|kommen,,gekommen*; i; ;
go/went/gone shopping; ein|kaufen; i; ; GI
go/went/gone for_a_walk; spazieren |gehen,,gegangen*; i; ; PGI
go/went/gone out; aus|gehen,,gegangen*; i; ; G
go/went/gone; gehen,,gegangen*; m; ; I
run/ran/run; laufen,läuf,gelaufen*; m; ; Iq
drive/drove/driven; fahren,fähr,gefahren*; m; ; I
travel/travelled/travelled; reisen,,gereist*; c; ; IG
fly/flew/flown; fliegen,,geflogen*; c; ; I
move; ziehen,,gezogen*; c; ;
live; wohnen; l; ; SH
stay; bleiben,,geblieben*; l; ; I
put/put/put; legen; L; layable; I
put/put/put; stellen; L; upright; I
hang/hung/hung; hängen; L; hang; I
lie/lay/lain; liegen,,gelegen; s; layable cat;
stand/stood/stood; stehen,,gestanden; s; upright; SH
hang/hung/hung; hängen,,gehangen; s; hang; SH
say/said/said; sagen; x; that; S
think/thought/thought; denken,,gedacht; x; that; S
know/knew/known; wissen,,gewusst; x; that whether; S
hope; hoffen; x; that to; S
believe; glauben; x; that; S
notice; merken; x; that; S
ask; fragen; x; whether;
wonder; fragen; y; whether; S
try/tried/tried; versuchen; x; to;
forget/forgot/forgotten; vergessen,vergiss,vergessen; x; to that; S
promise; versprechen,versprich,versprochen; x; to; S
plan/planned/planned; planen; x; to;
begin/began/begun; an|fangen,fäng,gefangen; x; to; S
decide; beschließen,,beschlossen; x; to; S
refuse; weigern; y; to; S
"""

# English German[,inflected stem][,comparative] tags; ^ marks a state that is only said of people now.
ADJECTIVES = """
old alt,,älter thing own part room sight device person animal public vehicle
new neu thing own part room buildable device public; young jung,,jünger person animal
expensive teuer,teur,teurer thing own food drink room rent; cheap billig thing own food drink
beautiful schön thing own room sight place song animal event
big groß,,größer thing own room sight place animal; small klein thing own room sight place animal
heavy schwer furniture carry device; red rot clothes small own furniture
blue blau clothes small own furniture; green grün clothes small own furniture
white weiß clothes small own furniture; black schwarz clothes small own furniture animal
yellow gelb clothes small own; brown braun clothes furniture animal
grey grau clothes furniture own animal; interesting interessant reading event mental
boring langweilig reading event; long lang,,länger reading event journey
short kurz,,kürzer reading event; exciting spannend reading event
fresh frisch food juice milk water; hot heiß meal drink; cold kalt,,kälter drink meal room
delicious lecker food; warm warm,,wärmer clothes meal; friendly freundlich person
tall groß,,größer person; clever klug,,klüger person animal; famous berühmt person sight
rich reich person; lazy faul person animal; hard-working fleißig person; strict streng person
polite höflich person; curious neugierig person animal; shy schüchtern person; brave mutig person
strong stark,,stärker person animal; honest ehrlich person; nice nett person
dark dunkel,dunkl,dunkler room house clothes; bright hell room lamp
modern modern room device public sight; clean sauber room clothes small
dirty schmutzig room clothes own part; empty leer bottle glass box room suitcase
broken kaputt device own part; fast schnell own ride animal; slow langsam own ride
comfortable bequem clothes chair armchair bed sofa; wide breit river
high hoch,hoh,höher tower mountain bridge tree; deep tief lake river sea
important wichtig mental event reading; difficult schwierig problem task question exam reading
easy einfach task question exam reading; strange seltsam mental reading
funny lustig story joke film song; dangerous gefährlich animal journey; tired müde ^
ill krank,,kränker ^; hungry hungrig ^; thirsty durstig ^; nervous nervös ^; happy glücklich ^
sad traurig ^; angry wütend ^; satisfied zufrieden ^
"""

MEN = listing("""Peter Thomas Paul Martin David Jonas Lukas Felix Simon Daniel Robert Oskar Anton
Emil Karl Otto Jakob Leon Tim Jan Ben Erik Stefan Michael Andreas Oliver Sebastian
Dominik Fabian Julian Samuel Viktor Hugo Max Tobias Florian Georg Richard Walter
Albert""")
WOMEN = listing("""Anna Maria Julia Laura Sarah Lisa Eva Clara Emma Nina Lena Paula Martina Sandra
Sabine Monika Petra Claudia Andrea Barbara Christine Daniela Elena Franziska Greta
Hannah Ida Johanna Katharina Lea Mia Nora Olivia Rosa Sofia Theresa Vera Amelie
Charlotte Helena""")
SURNAMES = listing("""Weber Schneider Fischer Becker Wagner Hoffmann Koch Richter Klein Wolf Neumann Braun
Krause Lehmann Berger Winkler Lorenz Huber Vogel Keller""")
CITIES = listing("""Berlin Hamburg Leipzig Dresden Stuttgart Bremen Bonn Kassel Potsdam Rostock Kiel
Mainz Erfurt Salzburg Graz Linz Innsbruck Basel Bern Luzern Paris London Madrid
Barcelona Oslo Stockholm Helsinki Amsterdam Dublin Boston Chicago Toronto Sydney
Tokio Budapest Istanbul Manchester Oxford Bristol Glasgow Lyon Marseille Porto
Granada Riga Vilnius Tallinn Bergen Aachen Augsburg""")
CITY_PAIRS = [(c, c) for c in CITIES if c != "Tokio"] + [
    ("Tokyo", "Tokio"),
    ("Munich", "München"),
    ("Vienna", "Wien"),
    ("Cologne", "Köln"),
    ("Rome", "Rom"),
    ("Prague", "Prag"),
    ("Warsaw", "Warschau"),
    ("Lisbon", "Lissabon"),
]

# ---------------------------------------------------------------------------------------------
# Morphology
# ---------------------------------------------------------------------------------------------
VOWELS = "aeiou"
NO_GE = re.compile(r"^(be|er|ver|ent|emp|ge|zer)|ieren$")
GENDER_COLUMN = {"m": 0, "f": 1, "n": 2, "p": 3}
# Rows nom acc dat gen, columns m f n plural.
DER = ("der die das die", "den die das die", "dem der dem den", "des der des der")
DIES_ENDINGS = ("er e es e", "en e es e", "em er em en", "es er es er")
EIN_ENDINGS = ("- e - e", "en e - e", "em er em en", "es er es er")
ADJ_ENDINGS = {
    "weak": ("e e e en", "en e e en", "en en en en", "en en en en"),
    "mixed": ("er e es en", "en e es en", "en en en en", "en en en en"),
    "strong": ("er e es e", "en e es e", "em er em en", "en er en er"),
}
REL_PRONOUN = ("der die das die", "den die das die", "dem der dem denen", "dessen deren dessen deren")
CONTRACTIONS = {
    "in dem": "im",
    "in das": "ins",
    "an dem": "am",
    "an das": "ans",
    "zu dem": "zum",
    "zu der": "zur",
    "bei dem": "beim",
    "von dem": "vom",
}


def cell(table: tuple[str, ...], case: str, gender: str) -> str:
    """One form of a four-case, four-column paradigm; `-` is the empty ending."""
    form = table[CASES.index(case)].split()[GENDER_COLUMN[gender]]
    return "" if form == "-" else form


def umlaut(word: str) -> str:
    """Umlaut the last back vowel (au counts as one, its first letter changes)."""
    hit = list(re.finditer(r"au|aa|[aouAOU]", word))[-1]
    changed = {"a": "ä", "o": "ö", "u": "ü", "A": "Ä", "O": "Ö", "U": "Ü"}[hit.group()[0]]
    rest = "" if hit.group() == "aa" else hit.group()[1:]
    return word[: hit.start()] + changed + rest + word[hit.end() :]


def en_plural(word: str) -> str:
    """The regular English plural; the lexicon names the others."""
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh", "z")) else "s")


def en_article(following: str) -> str:
    """`a` or `an`, by sound: a university, an honest man."""
    vowel = following[0].lower() in VOWELS and not following.startswith(("uni", "use", "Euro"))
    return "an" if vowel or following.startswith(("hour", "honest")) else "a"


@dataclass(frozen=True)
class Noun:
    """A noun of both languages: its forms, its German gender, its selectional tags."""

    en: str
    en_pl: str
    de: str
    gender: str
    de_pl: str
    genitive: str
    tags: frozenset[str]
    weak: str = ""

    def de_form(self, case: str, plural: bool) -> str:
        """Weak nouns mark every case but the nominative; the dative plural wants -n."""
        if plural:
            return self.de_pl + ("n" if case == "dat" and self.de_pl[-1] not in "ns" else "")
        if self.weak:
            return self.de + (self.weak if case != "nom" else "")
        return self.genitive if case == "gen" else self.de


@dataclass(frozen=True)
class Adjective:
    """An adjective with its inflecting stem (teur-, dunkl-, hoh-) and comparative."""

    en: str
    de: str
    stem: str
    comparative: str
    tags: frozenset[str]

    def de_superlative(self) -> str:
        """The attributive stem: ältest-, größt-, höchst-, teuerst-."""
        base = {"größer": "größ", "höher": "höch"}.get(self.comparative)
        if base is None:
            umlauted = self.comparative.removesuffix("er")
            base = umlauted if self.comparative != self.stem + "er" else self.de
            base = self.de if self.stem != self.de else base
        soft = base.endswith(("t", "d", "s", "z", "ß", "sch", "x", "eu")) and base != "größ"
        return base + ("t" if base == "größ" else "est" if soft else "st")

    def en_degree(self, suffix: str, word: str) -> str:
        """Short adjectives and those in -y take the suffix, all others the word."""
        syllables = len(re.findall(r"[aeiouy]+", re.sub(r"e$", "", self.en)))
        if self.en == "ill":
            return {"er": "more ill", "est": "most ill"}[suffix]
        if self.en.endswith("y") and syllables < 3 and "-" not in self.en:
            return self.en[:-1] + "i" + suffix if self.en != "shy" else self.en + suffix
        if syllables > 1 and self.en not in ("clever",):
            return f"{word} {self.en}"
        if self.en.endswith("e"):
            return self.en + suffix[1:]
        double = re.search(r"[^aeiou][aeiou][dgnt]$", self.en)
        return self.en + (self.en[-1] if double else "") + suffix


@dataclass(frozen=True)
class Verb:
    """A verb of both languages with its frame (see the lexicon) and usage flags."""

    en: str
    en_past: str
    en_pp: str
    particle: str
    preposition: str
    rest: str
    de: str
    prefix: str
    stem2: str
    participle: str
    sein: bool
    de_prep: str
    case: str
    frame: str
    objects: frozenset[str]
    flags: str

    @property
    def stem(self) -> str:
        """The infinitive without -en or -n."""
        return self.de[:-2] if self.de.endswith("en") else self.de[:-1]

    def de_present(self, person: int) -> str:
        """Present tense for 0 ich, 1 du, 2 er/sie/es, 3 plural; the prefix is left out."""
        if self.de in IRREGULAR:
            return IRREGULAR[self.de][0].split()[person]
        stem = self.stem2 or self.stem
        changed = stem != self.stem
        linking = "e" if needs_e(stem) and not changed else ""
        if person == 1:
            return stem + linking + ("t" if stem[-1] in "sßzx" else "st")
        if person == 2:
            return stem + linking + ("" if changed and stem.endswith("t") else "t")
        return self.stem + "e" if person == 0 else self.de

    def de_imperative(self) -> str:
        """The du form: e to i carries over (lies), a to ä does not (fahr)."""
        if self.stem2 and not re.search("[äöü]", self.stem2):
            return self.stem2
        return self.stem + ("e" if needs_e(self.stem) or self.stem.endswith(("er", "ig")) else "")

    def de_zu(self) -> str:
        """The infinitive with zu, inside a separable prefix: anzukommen."""
        if self.prefix and not self.prefix.endswith(" "):
            return f"{self.prefix}zu{self.de}"
        return f"{self.prefix}zu {self.de}"

    def en_finite(self, form: str, person: int) -> str:
        """`pres`, `past`, `ing`, `pp` or `base` of the English verb, without its particle."""
        return en_form(self.en, self.en_past, self.en_pp, form, person)


def needs_e(stem: str) -> bool:
    """Stems in -t, -d and in consonant + n or m take a linking e: arbeitet, öffnet."""
    return bool(re.search(r"[td]$|[^aeiouäöülrhnm][nm]$", stem))


IRREGULAR = {  # present and preterite; only these verbs use the preterite here
    "sein": ("bin bist ist sind", "war warst war waren"),
    "haben": ("habe hast hat haben", "hatte hattest hatte hatten"),
    "werden": ("werde wirst wird werden", "wurde wurdest wurde wurden"),
    "wissen": ("weiß weißt weiß wissen", "wusste wusstest wusste wussten"),
    "können": ("kann kannst kann können", "konnte konntest konnte konnten"),
    "müssen": ("muss musst muss müssen", "musste musstest musste mussten"),
    "wollen": ("will willst will wollen", "wollte wolltest wollte wollten"),
    "dürfen": ("darf darfst darf dürfen", "durfte durftest durfte durften"),
    "sollen": ("sollte solltest sollte sollten", ""),
    "mögen": ("möchte möchtest möchte möchten", ""),
}
# English modal: its finite part (a verb, or a word that never inflects), what follows it, German.
MODALS = {
    "can": ("can", "", "können"),
    "must": ("must", "", "müssen"),
    "should": ("should", "", "sollen"),
    "want": ("want", "to", "wollen"),
    "have": ("have", "to", "müssen"),
    "would": ("would", "like to", "mögen"),
    "allowed": ("be", "allowed to", "dürfen"),
    "able": ("be", "able to", "können"),
}


def en_form(base: str, past: str, pp: str, form: str, person: int) -> str:
    """Inflect an English verb; `be` is the only one with persons beyond the -s."""
    if base == "be" and form in ("pres", "past"):
        return {"pres": "am are is are", "past": "was were was were"}[form].split()[person]
    if form == "pres" and person == 2:
        return {"have": "has", "go": "goes"}.get(base) or en_plural(base)
    if form == "ing":
        if base in ("lie", "die"):
            return base[:-2] + "ying"
        if re.search(r"[^aeiou]e$|ue$", base) and base not in ("be", "see"):
            return base[:-1] + "ing"
        return base + (base[-1] if re.search(DOUBLING, base) else "") + "ing"
    return {"past": past, "pp": pp}.get(form, base)


DOUBLING = r"^(cancel|travel|forget|begin|[^aeiou]*[aeiou][bdgmnpt])$"


def en_regular_past(base: str) -> str:
    """-ed with its spelling rules."""
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in VOWELS:
        return base[:-1] + "ied"
    return base + "ed"


# ---------------------------------------------------------------------------------------------
# Phrases and clauses
# ---------------------------------------------------------------------------------------------
PRONOUNS = {  # English subject, object, possessive; German nom, acc, dat, possessive, reflexive x2
    "i": "I me my ich mich mir mein mich mir 0",
    "you": "you you your du dich dir dein dich dir 1",
    "he": "he him his er ihn ihm sein sich sich 2",
    "she": "she her her sie sie ihr ihr sich sich 2",
    "we": "we us our wir uns uns unser uns uns 3",
    "they": "they them their sie sie ihnen ihr sich sich 3",
    "it_m": "it it its er ihn ihm sein sich sich 2",
    "it_f": "it it its sie sie ihr ihr sich sich 2",
    "it_n": "it it its es es ihm sein sich sich 2",
}
POSSESSIVES = {row.split()[2]: row.split()[6] for row in list(PRONOUNS.values())[:6]}
DER_WORDS = {"this": "dies", "every": "jed", "which": "welch"}
PLURAL_WORDS = {"many": "viel", "some": "einig", "several": "mehrer"}
ONES = listing("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen")
ONES += listing("sixteen seventeen eighteen nineteen")
DE_ONES = listing("null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn")
DE_ONES += listing("fünfzehn sechzehn siebzehn achtzehn neunzehn")
TENS = listing("twenty thirty forty fifty sixty seventy eighty ninety")
DE_TENS = listing("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")


def number_word(n: int) -> Pair:
    """A cardinal below 100; the German unit goes first: einundzwanzig."""
    if n < 20:
        return ONES[n], DE_ONES[n]
    tens, one = divmod(n, 10)
    en, de = TENS[tens - 2], DE_TENS[tens - 2]
    return (f"{en}-{ONES[one]}", f"{DE_ONES[one]}und{de}") if one else (en, de)


NUMBERS = dict(number_word(n) for n in range(2, 100))


@dataclass(frozen=True)
class NP:
    """A noun phrase: a pronoun, a name, or determiner, adjectives, noun, owner, relative clause."""

    noun: Noun | None = None
    plural: bool = False
    det: str = ""
    adjectives: tuple[tuple[Adjective, str], ...] = ()
    pronoun: str = ""
    name: Pair | None = None
    sex: str = ""
    title: str = ""
    owner: NP | None = None
    rel: Relative | None = None
    negated: bool = False
    suffix: str = ""

    @property
    def person(self) -> int:
        """0 I, 1 you, 2 third singular, 3 plural: all that agreement needs."""
        return int(PRONOUNS[self.pronoun].split()[9]) if self.pronoun else 3 if self.plural else 2

    @property
    def gender(self) -> str:
        """The paradigm column: m, f, n or p."""
        return "p" if self.plural else self.noun.gender if self.noun else self.sex

    @property
    def definite(self) -> bool:
        """Definite objects stand before the place and before nicht."""
        indefinite = {"a", "", *PLURAL_WORDS, *NUMBERS}
        return not self.noun or self.owner is not None or self.det not in indefinite

    def reflexive(self, case: str) -> str:
        """mich, dir, sich ... for this subject."""
        row = PRONOUNS[self.pronoun or ("they" if self.plural else "he")].split()
        return row[7 if case == "acc" else 8]

    def en(self, case: str = "nom") -> str:
        """English: the determiner has to see the next word to choose a or an."""
        if self.pronoun:
            return PRONOUNS[self.pronoun].split()[0 if case == "nom" else 1]
        if self.name:
            return f"{self.title} {self.name[0]}".strip()
        assert self.noun
        words = [a.en_degree(d, "most" if d == "est" else "more") if d else a.en for a, d in self.adjectives]
        words.append(self.noun.en_pl if self.plural else self.noun.en)
        mass = self.noun.de_pl == "!"
        if self.owner:
            owner = self.owner.en()
            words.insert(0, owner + ("'" if owner.endswith("s") and self.owner.plural else "'s"))
        elif self.det == "a":
            if self.negated and (self.plural or mass):
                words.insert(0, "any")
            elif not self.plural and not mass:
                words.insert(0, en_article(words[0]))
        elif self.det:
            words.insert(0, "these" if self.det == "this" and self.plural else self.det)
        if self.suffix:
            words.append(self.suffix)
        return " ".join(words) + (self.rel.en(self) if self.rel else "")

    def de(self, case: str) -> str:
        """German, without the relative clause, which the clause may have to place elsewhere."""
        if self.pronoun:
            return PRONOUNS[self.pronoun].split()[{"nom": 3, "acc": 4, "dat": 5}[case]]
        if self.name:
            title = {"Mr": "Herr" if case == "nom" else "Herrn", "Mrs": "Frau", "": ""}[self.title]
            return f"{title} {self.name[1]}".strip()
        assert self.noun
        kind, gender, after = "strong", self.gender, ""
        det = self.det
        if self.owner and self.owner.name:
            first = self.owner.de("gen") + "s"
        elif self.owner or det in ("the", "all the"):
            first, kind = cell(DER, case, gender), "weak"
            after = " " + self.owner.de("gen") if self.owner else ""
        elif det in DER_WORDS:
            first, kind = DER_WORDS[det] + cell(DIES_ENDINGS, case, gender), "weak"
        elif det == "a" and (self.negated or not (self.plural or self.noun.de_pl == "!")):
            first, kind = ("kein" if self.negated else "ein") + cell(EIN_ENDINGS, case, gender), "mixed"
        elif det in POSSESSIVES:
            first, kind = POSSESSIVES[det] + cell(EIN_ENDINGS, case, gender), "mixed"
        elif det in PLURAL_WORDS:
            first = PLURAL_WORDS[det] + cell(DIES_ENDINGS, case, "p")
        else:
            first = NUMBERS.get(det, "" if det == "a" else det)
        words = [first]
        for adjective, degree in self.adjectives:
            stem = {"": adjective.stem, "er": adjective.comparative}.get(degree) or adjective.de_superlative()
            words.append(stem + cell(ADJ_ENDINGS[kind], case, gender))
        words += [self.noun.de_form(case, self.plural) + after, self.suffix]
        return " ".join(w for w in words if w)

    def de_full(self, case: str) -> str:
        """German with the relative clause in place."""
        return self.de(case) + self.de_rel()

    def de_rel(self) -> str:
        """The relative clause between its commas; a comma before a full stop is removed later."""
        return self.rel.de(self) if self.rel else ""


def de_pp(preposition: str, case: str, np: NP) -> str:
    """Preposition and phrase; a restrictive relative clause blocks the contraction (in dem Haus, das)."""
    phrase = f"{preposition} {np.de(case)}"
    owned = np.owner is not None and not np.owner.name
    if (np.det == "the" or owned) and not np.rel:
        head = " ".join(phrase.split()[:2])
        phrase = CONTRACTIONS.get(head, head) + phrase[len(head) :]
    return phrase


@dataclass(frozen=True)
class Relative:
    """A clause with one role left out: subj, obj, io, pobj, place, or the owner of its subject."""

    clause: Clause
    role: str

    def en(self, head: NP) -> str:
        """who, whom, that, whose or in which; prepositions are stranded."""
        assert head.noun
        human = bool(head.noun.tags & {"person", "kin"})
        if self.role == "whose":
            return " whose " + en_clause(self.clause)
        if self.role == "place":
            return " in which " + en_clause(self.clause, gap="place")
        word = "that" if not human else "who" if self.role == "subj" else "whom"
        return f" {word} " + en_clause(self.clause, gap=self.role)

    def de(self, head: NP) -> str:
        """Gender and number from the head, case from the role; the verb goes last."""
        c = self.clause
        case = {"subj": "nom", "obj": "acc", "io": "dat", "place": "dat", "pobj": c.verb.case}
        if self.role == "whose":
            pronoun = cell(REL_PRONOUN, "gen", head.gender) + " " + c.subj.de("nom")
        else:
            pronoun = cell(REL_PRONOUN, case[self.role], head.gender)
        if self.role in ("pobj", "place"):
            pronoun = (c.verb.de_prep if self.role == "pobj" else "in") + " " + pronoun
        gap = "subj" if self.role == "whose" else self.role
        return f", {pronoun} " + de_clause(c, "final", gap=gap) + ","


@dataclass(frozen=True)
class Clause:
    """One predication, free of any word order; adverbials and complements are (English, German)."""

    verb: Verb
    subj: NP
    tense: str = "pres"
    modal: str = ""
    obj: NP | None = None
    io: NP | None = None
    pobj: NP | None = None
    pred: Pair | None = None
    place: Pair | None = None
    goal: Pair | None = None
    time: Pair | None = None
    manner: Pair | None = None
    freq: Pair | None = None
    aspect: Pair | None = None
    sentence: Pair | None = None
    agent: NP | None = None
    neg: bool = False
    passive: bool = False
    front: str = ""


def en_verbs(c: Clause, support: bool) -> tuple[str, list[str]]:
    """The auxiliary (empty without one) and the rest; `support` asks for do where there is none."""
    v, p = c.verb, c.subj.person

    def content(form: str) -> str:
        return f"{en_form('be', '', 'been', form, p)} {v.en_pp}" if c.passive else v.en_finite(form, p)

    if c.modal in ("want", "have", "like"):
        if support:
            return en_form("do", "did", "done", c.tense, p).replace("dos", "does"), [
                c.modal,
                "to",
                content("base"),
            ]
        past = {"have": "had"}.get(c.modal, c.modal + ("d" if c.modal == "like" else "ed"))
        return "", [en_form(c.modal, past, "", c.tense, p), "to", content("base")]
    if c.modal:
        first, after, _ = MODALS[c.modal]
        return (en_form("be", "", "", c.tense, p) if first == "be" else first), [after, content("base")]
    if c.tense == "fut":
        return "will", [content("base")]
    if c.tense == "perf":
        return en_form("have", "had", "had", "pres", p), [content("pp")]
    if c.tense == "prog":
        return en_form("be", "", "", "pres", p), [content("ing")]
    if c.passive or v.en == "be":
        return en_form("be", "", "", c.tense, p), [v.en_pp] if c.passive else []
    if support:
        return en_form("do", "did", "done", c.tense, p).replace("dos", "does"), [content("base")]
    return "", [content(c.tense)]


def en_clause(c: Clause, mode: str = "decl", gap: str = "") -> str:
    """English order; mode is decl, ques (inverted), to, imp. The gapped role leaves no trace."""
    v = c.verb
    aux, verbs = en_verbs(c, c.neg or mode == "ques")
    subject = "" if gap == "subj" else c.subj.en()
    negation = "not" if c.neg else ""
    early = [w[0] for w in (c.freq, c.aspect) if w and w[0] != "yet"]
    if mode in ("to", "imp"):
        base = "be" if v.en == "be" else v.en
        words = (
            (["not"] if c.neg else []) + ["to", base] if mode == "to" else (["do not"] if c.neg else []) + [base]
        )
    elif mode == "ques":
        words = [aux, subject, negation, *early, *verbs]
    else:
        words = [subject, f"{aux} {negation}".strip().replace("can not", "cannot"), *early, *verbs]
    words.append(v.rest)

    def phrase(role: str, np: NP | None) -> str:
        return np.en("obj") if np and role not in (gap, c.front) else ""

    obj, io = phrase("obj", c.obj), phrase("io", c.io)
    particle = "" if c.passive and not v.particle else v.particle
    if c.io and c.obj:
        to_form = "T" in v.flags or c.obj.pronoun or gap == "io"
        words += [obj, "to", io] if to_form else [io, obj]
    elif c.obj and c.obj.pronoun:
        words += [v.preposition, obj, particle]
    else:
        words += [particle, v.preposition, obj or io, phrase("pobj", c.pobj)]
    words += [c.pred[0] if c.pred else "", f"by {c.agent.en('obj')}" if c.agent else ""]
    for role, pair in (("manner", c.manner), ("goal", c.goal), ("place", c.place), ("time", c.time)):
        words.append(pair[0] if pair and role not in (gap, c.front) else "")
    words.append("yet" if c.aspect and c.aspect[0] == "yet" else "")
    if c.sentence:
        words.insert(0, c.sentence[0])
    elif c.front and mode == "decl":
        fronted = (
            c.obj.en("obj")
            if c.front == "obj" and c.obj
            else (c.time if c.front == "time" else c.place or ("", ""))
        )
        words.insert(0, fronted if isinstance(fronted, str) else fronted[0] if fronted else "")
    return " ".join(w for w in words if w.strip())


def de_verbs(c: Clause) -> tuple[str, list[str], str]:
    """Finite verb, clause-final words, separable prefix of the finite verb."""
    v, p = c.verb, c.subj.person
    infinitive, participle = v.prefix + v.de, v.prefix + v.participle

    def finite(verb: str, past: bool = False) -> str:
        return IRREGULAR[verb][1 if past and IRREGULAR[verb][1] else 0].split()[p]

    past = c.tense in ("past", "perf")
    modal = c.modal if c.modal != "like" else ""
    if modal:
        german = "dürfen" if modal == "must" and c.neg else MODALS[modal][2]
        return finite(german, past), [participle, "werden"] if c.passive else [infinitive], ""
    if c.tense == "fut":
        return finite("werden"), [participle, "werden"] if c.passive else [infinitive], ""
    if c.passive:
        if c.tense == "perf":
            return finite("sein"), [participle, "worden"], ""
        return finite("werden", past), [participle], ""
    if past and v.de in ("sein", "haben", "wissen"):
        return finite(v.de, True), [], ""
    if past:
        return finite("sein" if v.sein else "haben"), [participle], ""
    return v.de_present(p), [], v.prefix


def de_middle(c: Clause, gap: str = "") -> tuple[list[tuple[str, str]], str]:
    """The middle field in its one fixed order, and the relative clauses that leave it."""
    v, slots, extraposed = c.verb, [], ""
    obj, io = (c.obj if gap != "obj" else None), (c.io if gap != "io" else None)
    early = c.neg or c.aspect is not None or c.modal == "like"
    for np in (obj, c.pobj if gap != "pobj" else None):
        extraposed += np.de_rel() if np and c.front != "obj" else ""
    if obj and obj.pronoun:
        slots.append(("obj", obj.de("acc")))
    if v.frame in ("r", "q", "y"):
        slots.append(("refl", c.subj.reflexive("acc")))
    if io and io.pronoun:
        slots.append(("io", io.de("dat")))
    if v.frame == "R":
        slots.append(("refl", c.subj.reflexive("dat")))
    lone = io is not None and c.obj is None
    heavy: list[tuple[str, str]] = []
    if io and not io.pronoun:
        (heavy if lone else slots).append(("io", io.de("dat")))
    if obj and not obj.pronoun and obj.definite:
        heavy.append(("obj", obj.de("acc")))
    slots += heavy if early else []
    slots += [(r, w[1]) for r, w in (("time", c.time), ("freq", c.freq)) if w]
    if c.agent:
        slots.append(("agent", de_pp("von", "dat", c.agent)))
    slots += [] if early else heavy
    if c.modal == "like" and not c.neg:
        slots.append(("aspect", "gern"))
    if c.aspect:
        slots.append(("aspect", c.aspect[1]))
    if c.neg and not (c.obj and c.obj.negated):
        slots.append(("neg", "nicht gern" if c.modal == "like" else "nicht"))
    slots += [(r, w[1]) for r, w in (("manner", c.manner), ("place", c.place)) if w and r != gap]
    if obj and not obj.pronoun and not obj.definite:
        slots.append(("obj", obj.de("acc")))
    if c.pobj and gap != "pobj":
        slots.append(("pobj", de_pp(v.de_prep, v.case, c.pobj)))
    slots += [(r, w[1]) for r, w in (("pred", c.pred), ("goal", c.goal)) if w and r != gap]
    return slots, extraposed


def de_clause(c: Clause, order: str = "v2", first: str | None = None, gap: str = "") -> str:
    """German order: v2 (`first` stands before the verb if given), first, final, zu, imp."""
    fin, tail, prefix = de_verbs(c)
    slots, extraposed = de_middle(c, gap)
    subject = "" if gap == "subj" else c.subj.de_full("nom")
    if order == "v2" and first is None:
        if c.sentence:
            first = c.sentence[1]
        elif c.front:
            first = next(text for role, text in slots if role == c.front)
            first += c.obj.de_rel() if c.front == "obj" and c.obj else ""
            slots = [slot for slot in slots if slot[0] != c.front]
        else:
            first, subject = subject, ""
    if subject and order != "zu" and not c.subj.pronoun and slots and slots[0][0] == "refl":
        subject = slots.pop(0)[1] + " " + subject  # a short reflexive goes before a full subject
    middle = [text for _, text in slots]
    if order == "zu":
        words = [*middle, c.verb.de_zu()]
    elif order == "imp":
        words = [c.verb.de_imperative(), *middle, c.verb.prefix.strip()]
    elif order == "final":
        words = [subject, *middle, *tail, prefix + fin]
    else:
        words = [first or "", fin, subject, *middle, *tail, prefix.strip()]
    return " ".join(w for w in words if w) + extraposed


def finish(en: str, de: str, stop: str = ".") -> Pair:
    """Capital, stop, and one comma where clause boundaries meet."""
    out = []
    for text in (en, de):
        text = re.sub(r"[\s,]*,[\s,]*", ", ", re.sub(r"\s+", " ", text)).strip(" ,")
        out.append(text[0].upper() + text[1:] + stop)
    return out[0], out[1]


# ---------------------------------------------------------------------------------------------
# Reading the lexicon
# ---------------------------------------------------------------------------------------------
def entries(text: str) -> Iterable[str]:
    """Entries are divided by semicolons and line ends."""
    return (e.strip() for e in re.split(r"[;\n]", text) if e.strip())


def read_nouns() -> dict[str, Noun]:
    """All simple nouns and compounds, with every class they belong to as a tag."""
    nouns: dict[str, Noun] = {}
    base: list[str] = []
    for entry in entries(NOUNS):
        if entry.startswith("@"):
            base = entry[1:].split()
            continue
        en, de, gender, plural = entry.split(" ")
        key, _, irregular = en.partition("/")
        weak = {"w": "en", "wn": "n"}.get(gender, "")
        gen = de if gender[0] == "f" else de + {"E": "es", "X": "ses"}.get(gender[1:], "s")
        if weak or plural == "=":
            de_pl = de + weak
        elif plural[0].isupper() or plural == "!":
            de_pl = plural
        else:
            de_pl = (umlaut(de) if plural[0] == '"' else de) + plural.strip('"-')
        word = key.replace("_", " ")
        nouns[key] = Noun(
            word,
            irregular or en_plural(word),
            de,
            gender[0].replace("w", "m"),
            de_pl,
            gen,
            frozenset([key, *base]),
            weak,
        )
    for entry in entries(COMPOUNDS):
        head_key, _, parts = entry.partition(": ")
        head = nouns[head_key]
        for part in parts.split():
            modifier, first = part.split("=")
            gap, key = (
                ("", modifier[:-1] + head_key) if modifier.endswith("+") else (" ", f"{modifier}_{head_key}")
            )
            en = modifier.rstrip("+") + gap
            nouns[key] = replace(
                head,
                en=en + head.en,
                en_pl=en + head.en_pl,
                de=first + head.de.lower(),
                de_pl=first + head.de_pl.lower() if head.de_pl != "!" else "!",
                genitive=first + head.genitive.lower(),
                tags=(head.tags - {head_key}) | {key, "compound"},
            )
    for line in CLASSES.strip().splitlines():
        tag, _, members = line.partition(": ")
        for key in members.split():
            nouns[key] = replace(nouns[key], tags=nouns[key].tags | {tag})
    return nouns


def read_verbs() -> list[Verb]:
    """One Verb for each lexicon line."""
    verbs = []
    for line in VERBS.strip().splitlines():
        en, de, frame, objects, flags = (f.strip() for f in line.split(";"))
        forms, *more = en.split()
        base, *irregular = forms.split("/")
        past, pp = irregular or [en_regular_past(base)] * 2
        de, stem2, participle, prep = [*de.split(","), "", "", ""][:4]
        prefix, _, infinitive = de.rpartition("|")
        if not participle.strip("*"):
            stem = infinitive.removesuffix("n").removesuffix("e") if infinitive.endswith("en") else infinitive[:-1]
            ge = "" if NO_GE.search(infinitive) else "ge"
            participle = ge + stem + ("e" if needs_e(stem) else "") + "t" + participle
        verbs.append(
            Verb(
                base,
                past,
                pp,
                next((m[1:] for m in more if m[0] == "+"), ""),
                next((m[1:] for m in more if m[0] == "_"), ""),
                " ".join(m for m in more if m[0] not in "+_").replace("_", " "),
                infinitive,
                prefix,
                stem2,
                participle.rstrip("*"),
                participle.endswith("*"),
                *((prep.split("+")[0], prep.split("+")[1]) if prep else ("", "")),
                frame,
                frozenset(objects.split()),
                flags,
            )
        )
    return verbs


def read_adjectives() -> list[Adjective]:
    """Adjective entries; a missing stem is the word itself, a missing comparative regular."""
    out = []
    for entry in entries(ADJECTIVES):
        en, de, *tags = entry.split()
        word, stem, comparative = [*de.split(","), "", ""][:3]
        out.append(Adjective(en, word, stem or word, comparative or (stem or word) + "er", frozenset(tags)))
    return out


LEXICON = read_nouns()
VERB_LIST = read_verbs()
ADJECTIVE_LIST = read_adjectives()
BE = Verb("be", "was", "been", "", "", "", "sein", "", "", "gewesen", True, "", "", "c0", frozenset(), "S")
COST = replace(BE, en="cost", en_past="cost", en_pp="cost", de="kosten", participle="gekostet", sein=False)
BELONG = replace(
    BE, en="belong", en_past="belonged", preposition="to", de="gehören", participle="gehört", sein=False, frame="d"
)


def verb(en: str, de: str) -> Verb:
    """Look a verb up by both its sides, for the constructions that name their verb."""
    return next(v for v in VERB_LIST if v.en == en and v.prefix + v.de == de)


MANNER = {
    "q": ("quickly", "schnell"),
    "s": ("slowly", "langsam"),
    "c": ("carefully", "sorgfältig"),
    "l": ("quietly", "leise"),
    "o": ("loudly", "laut"),
    "w": ("well", "gut"),
}
FREQ = [
    ("often", "oft"),
    ("always", "immer"),
    ("never", "nie"),
    ("sometimes", "manchmal"),
    ("usually", "meistens"),
    ("rarely", "selten"),
]
SENTENCE = [
    ("perhaps", "vielleicht"),
    ("unfortunately", "leider"),
    ("of course", "natürlich"),
    ("fortunately", "zum Glück"),
    ("probably", "wahrscheinlich"),
]
DAYS = [
    ("Monday", "Montag"),
    ("Tuesday", "Dienstag"),
    ("Wednesday", "Mittwoch"),
    ("Thursday", "Donnerstag"),
    ("Friday", "Freitag"),
    ("Saturday", "Samstag"),
    ("Sunday", "Sonntag"),
]
MONTHS = [
    ("January", "Januar"),
    ("February", "Februar"),
    ("March", "März"),
    ("April", "April"),
    ("May", "Mai"),
    ("June", "Juni"),
    ("July", "Juli"),
    ("August", "August"),
    ("September", "September"),
    ("October", "Oktober"),
    ("November", "November"),
    ("December", "Dezember"),
]
SEASONS = [("spring", "Frühling"), ("summer", "Sommer"), ("autumn", "Herbst"), ("winter", "Winter")]
PAST_TIMES = [
    ("yesterday", "gestern"),
    ("yesterday evening", "gestern Abend"),
    ("last week", "letzte Woche"),
    ("last month", "letzten Monat"),
    ("last year", "letztes Jahr"),
    ("last summer", "letzten Sommer"),
    ("last night", "letzte Nacht"),
    ("last winter", "letzten Winter"),
]
NOW_TIMES = [("now", "jetzt"), ("today", "heute"), ("at the moment", "im Moment")]
FUTURE_TIMES = [
    ("tomorrow", "morgen"),
    ("tomorrow morning", "morgen früh"),
    ("tomorrow evening", "morgen Abend"),
    ("next week", "nächste Woche"),
    ("next month", "nächsten Monat"),
    ("next year", "nächstes Jahr"),
    ("soon", "bald"),
    ("today", "heute"),
    ("this evening", "heute Abend"),
    ("at the weekend", "am Wochenende"),
    ("next summer", "nächsten Sommer"),
]
HABIT_TIMES = [
    ("every day", "jeden Tag"),
    ("every morning", "jeden Morgen"),
    ("every evening", "jeden Abend"),
    ("every week", "jede Woche"),
    ("every year", "jedes Jahr"),
    ("in the evening", "am Abend"),
    ("in the morning", "am Morgen"),
    ("in the afternoon", "am Nachmittag"),
]
UNITS = [
    ("day", "Tag", "Tage", "Tagen"),
    ("week", "Woche", "Wochen", "Wochen"),
    ("month", "Monat", "Monate", "Monaten"),
    ("year", "Jahr", "Jahre", "Jahren"),
]
LENGTHS = [("minutes", "Minuten"), ("hours", "Stunden"), ("days", "Tage")]
# Place: English preposition with the German one for where, then for where to (+acc, or zu +dat).
AT = {
    "station": "at an zu",
    "airport": "at an zu",
    "beach": "on an an",
    "lake": "at an an",
    "sea": "at an an",
    "river": "at an an",
    "market": "at auf zu",
    "university": "at an zu",
    "bus_stop": "at an zu",
    "city_library": "in in in",
    "fish_market": "at auf zu",
    "Christmas_market": "at auf zu",
    "town_hall": "in in zu",
    "bank": "in in zu",
    "pharmacy": "in in zu",
    "bakery": "in in zu",
    "castle": "in in zu",
}
SETTINGS = {
    "go": "park forest garden zoo city village beach river city_park",
    "cook": "kitchen restaurant garden hotel",
    "bake": "kitchen bakery",
    "sleep": "bedroom hotel garden living_room hospital flat beach guest_room",
    "eat": "kitchen restaurant café garden hotel park living_room",
    "smoke": "garden park kitchen station cellar",
    "drink": "kitchen restaurant café garden hotel park living_room",
    "celebrate": "hotel restaurant garden castle",
    "rest": "garden hotel bedroom park beach lake",
    "relax": "garden hotel bathroom park beach lake",
    "paint": "garden workshop room park village city",
    "write": "office library room café hotel kitchen",
    "play": "garden park school village city",
    "get": "forest city zoo museum castle airport university",
}
RELATIONS = [("on", "auf"), ("under", "unter"), ("behind", "hinter"), ("in front of", "vor"), ("next to", "neben")]


# ---------------------------------------------------------------------------------------------
# Sampling sentences
# ---------------------------------------------------------------------------------------------
EXCLUSIVE = [
    set(group.split())
    for group in [
        "old new young",
        "expensive cheap",
        "big small tall",
        "clean dirty",
        "long short",
        "difficult easy",
        "fast slow",
        "hot cold warm",
        "dark bright",
        "interesting boring exciting",
        "happy sad angry nervous satisfied",
        "lazy hard-working",
        "friendly strict nice polite",
        "rich poor",
    ]
]
COLOURS = set(listing("red blue green white black yellow brown grey"))
UNGRADED = {"empty", "broken", "hard-working", *COLOURS}
PRONOUN_SUBJECTS = ["i", "you", "he", "she", "we", "they"]
FRAMES = {"t": 40, "i": 17, "d": 7, "g": 12, "p": 8, "q": 8, "r": 5, "R": 2, "m": 7, "c": 4, "l": 4, "L": 5}


def doable(v: Verb) -> bool:
    """Whether one can order somebody to do it, or plan it."""
    return "I" in v.flags and not {"S", "H", "N"} & set(v.flags)


DOABLE = [v for v in VERB_LIST if doable(v)]


class Maker:
    """Draws sentences; all chance is in `rng`, so that a seed fixes the corpus."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.cache: dict[frozenset[str], list[Noun]] = {}

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.rng.random() < p

    def noun(self, tags: Iterable[str]) -> Noun:
        """A noun of any of the classes; `a:b` asks for both."""
        wanted = frozenset(tags)
        if wanted not in self.cache:
            sets = [set(t.split(":")) for t in wanted]
            self.cache[wanted] = [n for n in LEXICON.values() if any(s <= n.tags for s in sets)]
        return self.rng.choice(self.cache[wanted])

    def adjective(self, noun: Noun, used: Iterable[str] = ()) -> Adjective | None:
        """An adjective that fits the noun and contradicts none of those used."""
        taken = set(used)
        fits = [
            a
            for a in ADJECTIVE_LIST
            if a.tags & noun.tags and a.en not in taken and not any(a.en in g and taken & g for g in EXCLUSIVE)
        ]
        return self.rng.choice(fits) if fits else None

    def adjectives(self, noun: Noun, det: str) -> tuple[tuple[Adjective, str], ...]:
        """None, one, or size and colour."""
        if not self.chance(0.3) or not (adjective := self.adjective(noun)):
            return ()
        degree = ""
        if adjective.en not in UNGRADED:
            degree = (
                "est" if det == "the" and self.chance(0.15) else "er" if det == "a" and self.chance(0.1) else ""
            )
        if adjective.en in ("big", "small", "old", "new") and not degree and self.chance(0.4):
            colours = [a for a in ADJECTIVE_LIST if a.en in COLOURS and a.tags & noun.tags]
            if colours:
                return ((adjective, ""), (self.rng.choice(colours), ""))
        return ((adjective, degree),)

    def name(self) -> NP:
        """A first name, or Mr and Mrs with a surname."""
        if self.chance(0.25):
            surname = self.rng.choice(SURNAMES)
            title, sex = self.rng.choice([("Mr", "m"), ("Mrs", "f")])
            return NP(name=(surname, surname), title=title, sex=sex)
        sex = self.rng.choice("mf")
        first = self.rng.choice(MEN if sex == "m" else WOMEN)
        return NP(name=(first, first), sex=sex)

    def possessor(self, np: NP | None) -> str:
        """The possessive that refers back to a subject, or any."""
        own = ""
        if np and np.pronoun:
            own = PRONOUNS[np.pronoun].split()[2]
        elif np and np.plural:
            own = "their"
        elif np:
            own = {"m": "his", "f": "her"}.get(self.sex(np), "")
        return own if own and self.chance(0.8) else self.rng.choice(list(POSSESSIVES))

    @staticmethod
    def sex(np: NP) -> str:
        """m or f where English he or she is certain, else nothing."""
        if np.name:
            return np.sex
        tags = np.noun.tags if np.noun else frozenset()
        return "m" if "he" in tags else "f" if "she" in tags else ""

    def back(self, np: NP) -> NP | None:
        """The pronoun for a person already named."""
        if np.det == "every":
            return None  # a bound pronoun would have to be explained
        if np.pronoun:
            return np
        if np.plural:
            return NP(pronoun="they")
        sex = self.sex(np)
        return NP(pronoun="he" if sex == "m" else "she") if sex else None

    def person(self, definite: bool = False, named: bool = True) -> NP:
        """A noun phrase for people: mostly the, sometimes a; kin with a possessive or an owner."""
        if named and self.chance(0.25):
            return self.name()
        if self.chance(0.35):
            noun = self.noun(["kin"])
            plural = "pl" in noun.tags or self.chance(0.15)
            adjectives = self.adjectives(noun, "my") if self.chance(0.4) else ()
            if self.chance(0.2):
                owner = self.name() if self.chance(0.6) else self.person_noun("the")
                if not owner.name or not owner.name[0].endswith(("x", "s", "z")):
                    return NP(noun, plural, owner=owner, adjectives=adjectives)
            return NP(noun, plural, self.rng.choice(list(POSSESSIVES)), adjectives)
        roll = 1.0 if definite else self.rng.random()
        return self.person_noun("every" if roll < 0.05 else "a" if roll < 0.25 else "the")

    def person_noun(self, det: str) -> NP:
        """A common noun for a person."""
        noun = self.noun(["person"])
        if det == "the" and self.chance(0.1):
            det = "this"
        plural = det not in ("a", "every") and self.chance(0.2)
        return NP(noun, plural, det, self.adjectives(noun, det))

    def subject(self, definite: bool = False) -> NP:
        """Pronoun, name or person."""
        pick = self.rng.random()
        if pick < 0.27:
            return NP(pronoun=self.rng.choice(PRONOUN_SUBJECTS))
        return self.name() if pick < 0.55 else self.person(definite, named=False)

    def thing(
        self,
        tags: Iterable[str],
        subj: NP | None = None,
        definite: bool = False,
        bare: bool = False,
        neg: bool = False,
        count: bool = True,
    ) -> NP:
        """An object phrase of one of the classes."""
        noun = self.noun(tags)
        if "person" in noun.tags or "kin" in noun.tags:
            if self.chance(0.35):
                pronouns = [p for p in PRONOUN_SUBJECTS if not subj or self.apart(subj, p)]
                return NP(pronoun=self.rng.choice(pronouns)) if self.chance(0.5) else self.name()
            if "kin" in noun.tags:
                return NP(noun, "pl" in noun.tags or self.chance(0.1), self.possessor(subj))
            det = "the" if definite or neg or self.chance(0.8) else "a"
            return NP(noun, det != "a" and self.chance(0.2), det, self.adjectives(noun, det))
        mass = noun.de_pl == "!"
        plural = "pl" in noun.tags
        if bare:
            return NP(noun, not mass, "a")
        if mass and "sport" in noun.tags:
            return NP(noun, False, "a", negated=neg)
        det = self.rng.choices(
            ["the", "a", "this", "own", "number", "many", "owner"],
            [
                30,
                0 if definite else 32,
                8,
                16,
                0 if neg or definite or not count else 7,
                0 if neg or definite or not count else 4,
                0 if noun.tags & {"event", "abstract", "public"} else 5,
            ],
        )[0]
        if (mass and det in ("number", "many", "own", "owner", "this")) or (
            det == "own" and noun.tags & {"animal", "sight", "public", "abstract", "event"} and self.chance(0.7)
        ):
            det = "the"
        owner = None
        if det == "number":
            det, plural = (
                (number_word(self.rng.randint(2, 12))[0] if self.chance(0.7) else str(self.rng.randint(13, 60))),
                True,
            )
        elif det == "many":
            det, plural = self.rng.choice(list(PLURAL_WORDS)), True
        elif det == "own":
            det = self.possessor(subj)
        elif det == "owner":
            owner = self.name() if self.chance(0.5) else self.person_noun("the")
            if owner.name and owner.name[0].endswith(("x", "s", "z")):
                owner, det = None, "the"
        elif not mass and self.chance(0.15) and (count or det != "a"):
            plural = True
        return NP(
            noun,
            plural and not mass,
            "" if owner else det,
            self.adjectives(noun, det),
            owner=owner,
            negated=neg and det == "a",
        )

    @staticmethod
    def apart(np: NP, pronoun: str) -> bool:
        """Whether a pronoun object surely names somebody else than the subject."""
        person = int(PRONOUNS[pronoun].split()[9])
        if {np.pronoun, pronoun} in ({"i", "we"}, {"i"}, {"we"}, {"you"}):
            return False
        return np.person != person or (person == 2 and not np.pronoun and bool(np.name))  # "Anna sees him"

    def where(self, rooms: bool = True, verb: str = "") -> Pair:
        """In a city, or in a place that suits the verb."""
        if self.chance(0.25):
            return tuple_of(self.rng.choice(CITY_PAIRS), "in {}", "in {}")
        noun = self.noun(SETTINGS.get(verb, "public room" if rooms else "public").split())
        np = NP(noun, False, "the", self.adjectives(noun, "the") if self.chance(0.5) else ())
        en, de, _ = AT.get(noun_key(noun), "in in in").split()
        return f"{en} {np.en('obj')}", de_pp(de, "dat", np)

    def home(self) -> Pair:
        """Where people live: a city, or the like."""
        if self.chance(0.6):
            return tuple_of(self.rng.choice(CITY_PAIRS), "in {}", "in {}")
        np = NP(
            noun := self.noun(["village", "hotel", "city", "castle"]), False, "the", self.adjectives(noun, "the")
        )
        return f"in {np.en('obj')}", de_pp("in", "dat", np)

    def whither(self, far: bool) -> Pair:
        """To a place: in, an or zu by the noun, nach with cities."""
        if far and self.chance(0.4):
            return tuple_of(self.rng.choice(CITY_PAIRS), "to {}", "nach {}")
        noun = self.noun(["public"])
        np = NP(noun, False, "the", self.adjectives(noun, "the") if self.chance(0.4) else ())
        preposition = AT.get(noun_key(noun), "in in in").split()[2]
        return f"to {np.en('obj')}", de_pp(preposition, "dat" if preposition == "zu" else "acc", np)

    def two_way(self, case: str, hang: bool = False) -> Pair:
        """A spatial relation to a piece of furniture: dative for where, accusative for where to."""
        if hang:
            np = NP(LEXICON["wall"], False, "the")
            return "on the wall", de_pp("an", case, np)
        en, de = self.rng.choice(RELATIONS)
        np = self.thing(["base"], definite=True)
        np = replace(
            np, plural=False, det=np.det if np.det in ("the", "this", *POSSESSIVES) else "the", owner=None
        )
        return f"{en} {np.en('obj')}", de_pp(de, case, np)

    def price(self, noun: Noun | None) -> Pair:
        """A price of a likely size."""
        low, high = (3, 99) if noun and noun.tags & {"small", "clothes", "reading"} else (100, 999)
        n = self.rng.randint(low, high)
        return f"{n} euros", f"{n} Euro"

    def time(self, tense: str, modal: str, habit: bool) -> Pair | None:
        """A time that agrees with the tense."""
        if tense == "past" and self.chance(0.35):
            n = self.rng.randint(2, 12)
            unit = self.rng.choice(UNITS)
            en, de = number_word(n)
            kind = self.rng.randint(0, 2)
            if kind == 0:
                return f"{en} {unit[0]}s ago", f"vor {de} {unit[3]}"
            if kind == 1 and not modal:
                year = self.rng.randint(1950, 2024)
                return f"in {year}", f"im Jahr {year}"
            return tuple_of(self.rng.choice(MONTHS + SEASONS), "in {}", "im {}")
        if habit:
            if self.chance(0.3):
                return tuple_of(self.rng.choice(DAYS), "every {}", "jeden {}")
            return self.rng.choice(HABIT_TIMES)
        if tense == "prog":
            return self.rng.choice(NOW_TIMES)
        if tense == "perf":
            return None
        pick = self.rng.random()
        if tense == "past" or tense == "fut" or modal in ("can", "must", "should", "want", "have", "would"):
            if pick < 0.2:
                return tuple_of(self.rng.choice(DAYS), "on {}", "am {}")
            if pick < 0.32:
                hour = self.rng.randint(1, 12)
                return f"at {hour} o'clock", f"um {hour} Uhr"
            if tense == "past":
                return self.rng.choice(PAST_TIMES)
            if pick < 0.42:
                (en, de), unit = number_word(self.rng.randint(2, 12)), self.rng.choice(UNITS)
                return f"in {en} {unit[0]}s", f"in {de} {unit[3]}"
            return self.rng.choice(FUTURE_TIMES)
        return None

    def tense(self, v: Verb, when: str) -> tuple[str, str]:
        """Tense and modal of a time frame: past, now or later."""
        stative = "S" in v.flags
        if when == "later" and "H" in v.flags:
            when = "now"
        if when == "past":
            modal = (
                "" if stative else self.rng.choices(["", "want", "have", "able", "allowed"], [22, 2, 2, 1, 1])[0]
            )
            return "past", modal
        if when == "recent":
            return ("past" if stative else "perf"), ""
        if when == "later":
            if stative or self.chance(0.4):
                return "fut", ""
            return "pres", self.rng.choice(["can", "must", "should", "want", "have", "would", "allowed"])
        if "G" in v.flags and self.chance(0.15):
            return "pres", "like"
        return ("pres" if stative or self.chance(0.35) else "prog"), ""

    def clause(
        self,
        frames: str = "",
        subj: NP | None = None,
        when: str = "",
        objects: str = "",
        neg: bool | None = None,
        adverbs: float = 0.5,
        pool: list[Verb] | None = None,
        tense: tuple[str, str] | None = None,
    ) -> Clause:
        """A full clause about people (now and then animals)."""
        if pool is None:
            weights = {f: w for f, w in FRAMES.items() if not frames or f in frames}
            frame = self.rng.choices(list(weights), list(weights.values()))[0]
            pool = [v for v in VERB_LIST if v.frame == frame]
        v = self.rng.choice(pool)
        when = when or self.rng.choice(["past", "past", "past", "recent", "now", "now", "later", "later"])
        tn, modal = tense or self.tense(v, when)
        if "N" in v.flags and modal:
            tn, modal = ("past" if tn == "past" else "fut"), ""
        negated = self.chance(0.13) if neg is None else neg
        if subj is None:
            if "A" in v.flags and self.chance(0.3) and not modal:
                subj = NP(self.noun(["animal"]), self.chance(0.2), self.rng.choice(["the", "the", "my", "this"]))
            else:
                subj = self.subject(definite=negated)
        if tense is None and (tn, modal) == ("pres", "") and v.en == v.en_past and subj.person != 2:
            tn = "prog"  # "they read" and "they put" would not show their tense
        habit = tn == "pres" and not modal and "G" in v.flags and not negated
        bare = (habit or modal == "like") and v.frame == "t" and "person" not in v.objects
        c = Clause(v, subj, tn, modal, neg=negated)
        if v.frame in ("t", "g", "R", "L"):
            c = replace(
                c,
                obj=self.thing(
                    v.objects,
                    subj,
                    definite=v.frame == "L" or v.frame == "R",
                    bare=bare,
                    neg=negated,
                    count=v.frame == "t",
                ),
            )
        if v.frame in ("g", "d"):
            c = replace(
                c, io=self.thing(["person", "kin"] if v.frame == "g" else v.objects, subj, definite=negated)
            )
        if v.frame in ("p", "q"):
            c = replace(c, pobj=self.thing(v.objects, subj, definite=negated, count=False))
        if v.frame == "L":
            c = replace(
                c, goal=self.two_way("acc", v.de == "hängen"), obj=replace(c.obj, plural=False) if c.obj else None
            )
        if v.frame == "m":
            c = replace(c, goal=self.whither(v.en == "drive"))
        if v.frame == "c":
            c = replace(c, goal=tuple_of(self.rng.choice(CITY_PAIRS), "to {}", "nach {}"))
        if v.frame == "l":
            c = replace(c, place=self.where(rooms=False) if v.de == "bleiben" else self.home())
        return self.adverbials(c, habit, adverbs)

    def adverbials(self, c: Clause, habit: bool, adverbs: float) -> Clause:
        """Add what the verb and the tense allow: frequency or time, place or manner, schon."""
        v = c.verb
        if c.neg:
            if c.tense == "perf" and c.obj and c.obj.definite:
                return replace(c, aspect=("yet", "noch"))
            return replace(c, time=self.time(c.tense, c.modal, False)) if self.chance(adverbs * 0.6) else c
        if c.tense == "perf" and (c.obj is None or c.obj.definite) and self.chance(0.6):
            return replace(c, aspect=("already", "schon"))
        if habit and self.chance(0.6):
            c = replace(c, freq=self.rng.choice(FREQ))
        elif "D" in v.flags and c.tense == "past" and not c.modal and self.chance(adverbs * 0.4):
            (en, de), unit = number_word(self.rng.randint(2, 12)), self.rng.choice(LENGTHS)
            c = replace(c, time=(f"for {en} {unit[0]}", f"{de} {unit[1]} lang"))
        elif self.chance(adverbs) and "H" not in v.flags:
            c = replace(c, time=self.time(c.tense, c.modal, habit))
        flags = [f for f in v.flags if f in MANNER and not (f == "w" and (c.modal or c.tense == "fut"))]
        if flags and c.modal != "like" and self.chance(adverbs * 0.4):
            c = replace(c, manner=MANNER[self.rng.choice(flags)])
        elif "P" in v.flags and c.place is None and self.chance(adverbs * 0.8):
            c = replace(c, place=self.where(verb=v.en))
        return c

    def fronted(self, c: Clause) -> Clause:
        """Perhaps move an adverbial, or a demonstrative object, to the front of both sides."""
        roll = self.rng.random()
        if c.time and roll < 0.55 and not c.time[0].startswith("for "):
            return replace(c, front="time")
        if c.place and c.verb.frame not in ("l", "s") and roll < 0.4:
            return replace(c, front="place")
        if roll < 0.12 and not c.aspect and not c.freq:
            return replace(c, sentence=self.rng.choice(SENTENCE))
        return c


def noun_key(noun: Noun) -> str:
    """The lexicon key of a noun."""
    return noun.en.replace(" ", "_")


def tuple_of(pair: Pair, en: str, de: str) -> Pair:
    """Set both halves of a pair into their phrases."""
    return en.format(pair[0]), de.format(pair[1])


# ---------------------------------------------------------------------------------------------
# Sentence kinds
# ---------------------------------------------------------------------------------------------
def pair_of(c: Clause) -> Pair:
    """Both sides of a main clause."""
    return en_clause(c), de_clause(c)


def joined(main: Pair, en: str, de: str, sub: Clause) -> Pair:
    """A main clause and a verb-final clause after it."""
    return f"{main[0]}{en} {en_clause(sub)}", f"{main[1]}, {de} {de_clause(sub, 'final')}"


def plain(m: Maker) -> Pair:
    """One main clause of any frame but the spatial ones."""
    return finish(*pair_of(m.fronted(m.clause("tidpqrR", adverbs=0.7))))


def giving(m: Maker) -> Pair:
    """Dative and accusative."""
    return finish(*pair_of(m.fronted(m.clause("g"))))


def moving(m: Maker) -> Pair:
    """Accusative of direction, and where people live."""
    return finish(*pair_of(m.fronted(m.clause("mclL"))))


def lying(m: Maker) -> Pair:
    """Dative of place with things as subjects."""
    v = m.rng.choice([v for v in VERB_LIST if v.frame == "s"])
    subj = m.thing(v.objects, count=v.de != "hängen")
    when = m.rng.choice(["past", "now"])
    tense = "past" if when == "past" else "pres" if "S" in v.flags else "prog"
    c = Clause(v, subj, tense, place=m.two_way("dat", v.de == "hängen"), neg=subj.definite and m.chance(0.1))
    return finish(*pair_of(m.fronted(replace(c, time=m.time(tense, "", False)) if m.chance(0.2) else c)))


def state(m: Maker, subj: NP | None = None, when: str = "", too: bool = True, need: str = "") -> Clause:
    """A person is tired, or was."""
    subj = subj or m.subject(definite=True)
    tense = (
        {"past": "past", "later": "pres"}.get(when) or m.rng.choice(["pres", "past"]) if when != "now" else "pres"
    )
    gloomy = need == "although"
    appetite = {"eat": {"hungry"}, "cook": {"hungry"}, "order": {"hungry"}, "drink": {"thirsty"}}.get(
        need, {"hungry", "thirsty"}
    )
    a = m.rng.choice(
        [
            a
            for a in ADJECTIVE_LIST
            if "^" in a.tags
            and (
                not need
                or (a.en not in {"happy", "satisfied"} if gloomy else (a.en in appetite) == (len(appetite) == 1))
            )
        ]
    )
    en, de = m.rng.choice([("", ""), ("very ", "sehr "), ("still ", "noch ")] + [("too ", "zu ")] * too)
    neg = m.chance(0.12) and not gloomy
    return Clause(BE, subj, tense, pred=(a.en, a.de) if neg else (en + a.en, de + a.de), neg=neg)


def being(m: Maker) -> Pair:
    """Copular sentences: qualities, states, comparison, professions, ages, prices."""
    kind = m.rng.choice(["quality", "state", "more", "more", "as", "job", "age", "price", "room"])
    if kind == "state":
        return finish(*pair_of(m.fronted(state(m))))
    if kind in ("job", "age"):
        subj = m.name() if m.chance(0.6) else NP(pronoun=m.rng.choice(["i", "you", "he"]))
        if kind == "age":
            subj = m.person(definite=True)
            if subj.noun and "pl" not in subj.noun.tags:
                subj = replace(subj, plural=False)
            young = subj.noun is not None and subj.noun.en in ("child", "girl", "boy", "pupil", "nephew", "niece")
            en, de = number_word(m.rng.randint(2, 17) if young else m.rng.randint(18, 99))
            return finish(*pair_of(Clause(BE, subj, pred=(f"{en} years old", f"{de} Jahre alt"))))
        noun = m.noun(["person"])
        while (
            "she" in noun.tags
            or not {"he"} & noun.tags
            or noun.en
            in ("man", "boy", "guest", "thief", "witness", "president", "neighbour", "customer", "tourist")
        ):
            noun = m.noun(["person"])
        if m.sex(subj) == "f":
            subj = NP(pronoun="he")
        return finish(
            *pair_of(
                Clause(
                    BE, subj, m.rng.choice(["pres", "past"]), pred=(f"{en_article(noun.en)} {noun.en}", noun.de)
                )
            )
        )
    if kind == "room":
        number = str(m.rng.randint(101, 999))
        c = m.clause("t", pool=[verb("tidy", "aufräumen")], when="past", adverbs=0)
        return finish(
            *pair_of(
                replace(
                    c,
                    obj=NP(LEXICON["room"], suffix=number),
                    modal="",
                    tense="past",
                    neg=False,
                    time=m.rng.choice(PAST_TIMES),
                )
            )
        )
    tags = ["thing", "own", "animal", "sight", "room", "person"]
    if kind == "price":
        subj = m.thing(["thing", "own"], definite=True)
        return finish(*pair_of(Clause(COST, subj, "pres", pred=m.price(subj.noun))))
    noun = m.noun(tags)
    while not m.adjective(noun):
        noun = m.noun(tags)
    a = m.adjective(noun)
    assert a
    human = "person" in noun.tags
    subj = NP(
        noun,
        "pl" in noun.tags or m.chance(0.15),
        m.rng.choice(["the", "this", "the" if human else m.possessor(None)]),
    )
    if kind == "quality" or a.en in UNGRADED:
        return finish(
            *pair_of(Clause(BE, subj, m.rng.choice(["pres", "past"]), pred=(a.en, a.de), neg=m.chance(0.15)))
        )
    groups = noun.tags & {
        "reading",
        "clothes",
        "vehicle",
        "device",
        "furniture",
        "small",
        "animal",
        "sight",
        "room",
        "person",
    }
    others = [n for n in LEXICON.values() if n.tags & a.tags and n.tags & groups and n != noun] or [noun]
    other = m.rng.choice(others)
    det = m.possessor(None) if other == noun else m.rng.choice(["the", "this" if human else m.possessor(None)])
    rival = NP(other, "pl" in other.tags, det)
    if det == subj.det:
        rival = replace(rival, det="this" if det == "the" else "the")
    if kind == "as":
        neg = m.chance(0.4)
        pred = (f"as {a.en} as {rival.en()}", f"so {a.de} wie {rival.de('nom')}")
        if not neg:
            pred = "just " + pred[0], "genau" + pred[1]
        return finish(*pair_of(Clause(BE, subj, pred=pred, neg=neg)))
    much = m.rng.choice([("", ""), ("much ", "viel ")])
    pred = (
        f"{much[0]}{a.en_degree('er', 'more')} than {rival.en()}",
        f"{much[1]}{a.comparative} als {rival.de('nom')}",
    )
    return finish(*pair_of(Clause(BE, subj, m.rng.choice(["pres", "past"]), pred=pred)))


WEATHER = [("rain", "regnen", ""), ("snow", "schneien", "")]


def weather(when: str, m: Maker) -> Clause:
    """It rains: the one subject es without antecedent."""
    en, de, _ = m.rng.choice(WEATHER)
    v = replace(
        BE,
        en=en,
        en_past=en + "ed",
        en_pp=en + "ed",
        de=de,
        participle="ge" + {"regnen": "regnet"}.get(de, "schneit"),
        sein=False,
        flags="",
    )
    return Clause(v, NP(pronoun="it_n"), {"past": "past", "later": "pres"}.get(when, "prog"))


def reason(m: Maker, main: Clause, when: str, need: str = "") -> Clause:
    """Something that can follow because: a state, a wish, the weather, another event."""
    back = m.back(main.subj)
    roll = m.rng.random()
    frame = "past" if when == "past" else "now"
    if roll < 0.3 and back:
        return state(m, back, frame, too=False, need=need or main.verb.en)
    if roll < 0.6 and back:
        modal = m.rng.choice(["want", "have"])
        return m.clause(
            subj=back,
            tense=("past" if when == "past" else "pres", modal),
            adverbs=0.3,
            pool=DOABLE,
            neg=False,
            when="later" if when != "past" else when,
        )
    if roll < 0.75:
        return weather(when if when == "past" else "now", m)
    return m.clause(when=when, adverbs=0.3)


def because(m: Maker) -> Pair:
    """Subordinate clause after the main clause."""
    when = m.rng.choice(["past", "past", "now", "later"])
    main = m.fronted(m.clause(when=when, adverbs=0.4))
    kind = m.rng.choice(["because", "because", "because", "although", "before", "so that"])
    if kind == "before" and when != "now":
        back = m.back(main.subj)
        sub = m.clause(
            subj=back if m.chance(0.6) else None,
            neg=False,
            adverbs=0.2,
            tense=("past", "") if when == "past" else ("pres", ""),
            pool=[v for v in VERB_LIST if v.frame in "tigR" and "S" not in v.flags],
        )
        if main.neg:
            main = replace(
                main, neg=False, obj=replace(main.obj, negated=False) if main.obj else None, aspect=None
            )
        return finish(*joined(pair_of(main), " before", "bevor", replace(sub, freq=None, time=None, aspect=None)))
    if kind == "so that" and when != "past" and doable(main.verb):
        sub = m.clause(
            tense=("pres", "can"),
            when="later",
            neg=False,
            adverbs=0.2,
            pool=[v for v in DOABLE if v.frame in "tirRp"],
        )
        return finish(*joined(pair_of(main), " so that", "damit", sub))
    if kind == "although":
        return finish(*joined(pair_of(main), ", although", "obwohl", reason(m, main, when, "although")))
    return finish(*joined(pair_of(main), " because", "weil", reason(m, main, when)))


def preposed(m: Maker) -> Pair:
    """A subordinate clause in front makes the main clause verb-first."""
    kind = m.rng.choice(["if", "if", "when_past", "when_past", "although", "because", "while", "as soon as"])
    de = {
        "if": "wenn",
        "when_past": "als",
        "although": "obwohl",
        "because": "weil",
        "while": "während",
        "as soon as": "sobald",
    }[kind]
    event = [v for v in VERB_LIST if v.frame in "tidgmcrR" and "S" not in v.flags]
    if kind in ("if", "as soon as"):
        if kind == "if" and m.chance(0.3):
            sub = weather("later", m)
        elif kind == "if" and m.chance(0.3):
            sub = state(m, when="later")
        else:
            tense = ("pres", m.rng.choice(["", "", "want", "have"])) if kind == "if" else ("pres", "")
            sub = m.clause(pool=event, tense=tense, when="later", adverbs=0.2, neg=None if kind == "if" else False)
            sub = replace(sub, freq=None)
        when = "later"
    elif kind == "while":
        sub = m.clause(
            pool=[v for v in VERB_LIST if v.frame in "tip" and "S" not in v.flags and "P" in v.flags],
            tense=("prog", ""),
            neg=False,
            adverbs=0.3,
        )
        sub = replace(sub, time=None)
        when = "now"
    elif kind == "when_past":
        sub = m.clause(pool=event, tense=("past", ""), when="past", neg=False, adverbs=0.2)
        when = "past"
    else:
        when = m.rng.choice(["past", "now"])
        sub = m.clause(when=when, adverbs=0.3) if m.chance(0.5) else state(m, when=when, too=False, need=kind)
    back = m.back(sub.subj) if sub.subj.pronoun != "it_n" else None
    later = m.rng.choice(
        [("fut", ""), ("fut", ""), ("pres", "can"), ("pres", "must"), ("pres", "should"), ("pres", "have")]
    )
    main = m.clause(
        subj=back if sub.pred or m.chance(0.5) else None,
        when=when,
        adverbs=0 if kind == "when_past" else 0.3,
        tense={"while": ("prog", ""), "if": later, "as soon as": later}.get(kind),
        neg=False if kind in ("while", "when_past", "as soon as") else None,
        pool=[v for v in VERB_LIST if v.frame in "tipgr" and "S" not in v.flags]
        if kind in ("while", "when_past")
        else [v for v in VERB_LIST if v.frame in "tidgmcrRpq" and not {"S", "H"} & set(v.flags)]
        if when == "later"
        else None,
    )
    if kind == "while":
        main = replace(main, time=None)
    en = {"when_past": "when"}.get(kind, kind)
    return finish(
        f"{en} {en_clause(sub)}, {en_clause(main)}", f"{de} {de_clause(sub, 'final')}, {de_clause(main, 'first')}"
    )


def matrix(m: Maker, kind: str, neg: bool = False) -> Clause:
    """The clause above a dass, ob or zu clause."""
    v = m.rng.choice([v for v in VERB_LIST if v.frame in ("x", "y") and kind in v.objects])
    subj = m.subject(definite=True)
    tense = m.rng.choice(["pres", "past"])
    if kind == "whether" and v.en == "know":
        tense, neg = "pres", True
    return Clause(v, subj, tense, neg=neg)


def content(m: Maker) -> Pair:
    """dass, ob and indirect questions."""
    kind = m.rng.choice(["that", "that", "whether", "wh"])
    top = matrix(m, "that" if kind == "that" else "whether")
    sub = (
        m.clause(when="past" if top.tense == "past" else m.rng.choice(["past", "now", "later"]), adverbs=0.4)
        if m.chance(0.85)
        else state(m, when=m.rng.choice(["past"] if top.tense == "past" else ["past", "now"]))
    )
    if kind == "wh":
        c, en, de, gap = wh_clause(m, top.tense == "past")
        return finish(
            f"{en_clause(top)} {en} {en_clause(c, gap=gap)}",
            f"{de_clause(top)}, {de} {de_clause(c, 'final', gap=gap)}",
        )
    return finish(*joined(pair_of(top), f" {kind}", "dass" if kind == "that" else "ob", sub))


def wh_clause(m: Maker, past: bool = False) -> tuple[Clause, str, str, str]:
    """A clause with one role asked for: the clause, both question phrases, the gap."""
    kind = m.rng.choice(
        [
            "who",
            "what",
            "whom",
            "dat",
            "pobj",
            "where",
            "where",
            "whither",
            "when",
            "when",
            "why",
            "which",
            "many",
            "whose",
        ]
    )
    when = "past" if past else m.rng.choice(["past", "now", "later"])
    if kind in ("what", "which", "many", "whose"):
        pool = [
            v for v in VERB_LIST if v.frame == "t" and not v.objects & {"person", "kin", "sport", "child", "thief"}
        ]
        c = m.clause(pool=pool, when=when, neg=False, adverbs=0.5)
        assert c.obj and c.obj.noun
        noun, plural = c.obj.noun, c.obj.plural
        c = replace(c, aspect=None, manner=None, place=None)
        if kind == "what":
            return c, "what", "was", "obj"
        if kind == "whose":
            np = NP(noun, plural, "")
            return c, "whose " + np.en(), "wessen " + np.de("acc"), "obj"
        if kind == "many" and noun.de_pl != "!":
            np = NP(noun, True, "")
            return c, "how many " + np.en(), "wie viele " + np.de("acc"), "obj"
        np = NP(noun, plural, "which")
        return c, np.en(), np.de("acc"), "obj"
    if kind == "who":
        c = m.clause(subj=NP(name=("", ""), sex="m"), when=when, neg=False)
        return c, "who", "wer", "subj"
    if kind in ("whom", "dat"):
        pool = [
            v
            for v in VERB_LIST
            if v.frame == ("t" if kind == "whom" else "d") and "person" in v.objects and "reading" not in v.objects
        ]
        c = replace(m.clause(pool=pool, when=when, neg=False), manner=None)
        return (
            replace(c, aspect=None),
            "who",
            "wen" if kind == "whom" else "wem",
            "obj" if kind == "whom" else "io",
        )
    if kind == "pobj":
        c = m.clause("pq", when=when, neg=False)
        v = c.verb
        human = (bool({"person", "kin"} & v.objects) and m.chance(0.6)) or not v.objects - {"person", "kin"}
        wo = "wo" + ("r" if v.de_prep[0] in "aeiouü" else "") + v.de_prep
        return (
            c,
            "who" if human else "what",
            f"{v.de_prep} {'wen' if v.case == 'acc' else 'wem'}" if human else wo,
            "pobj",
        )
    if kind == "whither":
        return replace(m.clause("mc", when=when, neg=False), manner=None), "where", "wohin", "goal"
    if kind == "where":
        pool = [v for v in VERB_LIST if v.frame == "l" or (v.frame in "ti" and "P" in v.flags)]
        c = replace(m.clause(pool=pool, when=when, neg=False), manner=None, aspect=None)
        return replace(c, place=c.place or ("in", "in")), "where", "wo", "place"
    c = m.clause("tidgmL", when="past" if kind == "when" and when == "now" else when, neg=False, adverbs=0.3)
    c = replace(c, time=None if kind == "when" else c.time, freq=None, aspect=None)
    return c, kind, {"when": "wann", "why": "warum"}[kind], "none"


def asking(m: Maker) -> Pair:
    """wh- questions."""
    c, en, de, gap = wh_clause(m)
    while c.subj.pronoun == "i":
        c, en, de, gap = wh_clause(m)
    return finish(
        f"{en} {en_clause(c, 'decl' if gap == 'subj' else 'ques', gap)}", de_clause(c, "v2", de, gap), "?"
    )


def yes_no(m: Maker) -> Pair:
    """Verb-first questions, but none about oneself."""
    c = m.clause(neg=False, adverbs=0.6) if m.chance(0.85) else state(m)
    while c.subj.pronoun == "i":
        c = m.clause(neg=False, adverbs=0.6)
    return finish(en_clause(c, "ques"), de_clause(c, "first"), "?")


def imperative(m: Maker) -> Pair:
    """du imperatives, with or without please."""
    pool = [v for v in VERB_LIST if "I" in v.flags and v.frame != "s"]
    c = m.clause(
        pool=pool, subj=NP(pronoun="you"), tense=("pres", ""), when="later", adverbs=0.3, neg=m.chance(0.2)
    )
    if c.obj and c.obj.negated:
        c = replace(c, obj=replace(c.obj, det="the", negated=False))
    c = replace(
        c,
        freq=None,
        aspect=None,
        time=None
        if c.neg
        else m.rng.choice(
            [
                None,
                None,
                ("today", "heute"),
                ("tomorrow", "morgen"),
                ("at once", "sofort"),
                ("now", "jetzt"),
                *FUTURE_TIMES[:4],
            ]
        ),
    )
    please = m.chance(0.4)
    return finish(
        ("please " if please else "") + en_clause(c, "imp"),
        ("bitte " if please else "") + de_clause(c, "imp"),
        "!",
    )


def relative(m: Maker, noun: Noun, plural: bool, depth: int = 1, when: str = "") -> Relative | None:
    """A relative clause that suits the noun; one on its object nests to the given depth."""
    head = NP(noun, plural, "the")
    when = when or m.rng.choice(["past", "past", "now"])
    be = "past" if when == "past" else "pres"
    pick = m.rng.random()
    if "person" in noun.tags:
        if pick < 0.15:
            thing = m.noun(["own", "device", "pet"])
            a = m.adjective(thing)
            if a:
                return Relative(Clause(BE, NP(thing), be, pred=(a.en, a.de)), "whose")
        if pick < 0.6:
            c = m.clause(subj=head, when=when, neg=False, adverbs=0.25, frames="tipqlmg")
            return Relative(nest(m, c, depth), "subj")
        frame, role = m.rng.choice([("t", "obj"), ("t", "obj"), ("d", "io"), ("p", "pobj"), ("q", "pobj")])
        pool = [v for v in VERB_LIST if v.frame == frame and "person" in v.objects]
        c = m.clause(pool=pool, when=when, neg=False, adverbs=0.3)
        return Relative(replace(c, manner=None), role)
    if noun.tags & {"room", "public"} and pick < 0.5:
        c = m.clause(
            pool=[v for v in VERB_LIST if v.frame == "i" and "P" in v.flags], when=when, neg=False, adverbs=0.2
        )
        if noun_key(noun) not in AT or AT[noun_key(noun)].startswith("in"):
            return Relative(replace(c, place=("in", "in"), manner=None), "place")
    if pick < 0.25:
        a = m.adjective(noun)
        if a:
            return Relative(
                Clause(
                    BE, head, be, pred=("very " + a.en, "sehr " + a.de) if a.en not in UNGRADED else (a.en, a.de)
                ),
                "subj",
            )
    if pick < 0.32 and noun.tags & {"layable", "upright"}:
        v = verb("lie", "liegen") if "layable" in noun.tags else verb("stand", "stehen")
        return Relative(
            Clause(
                v,
                head,
                "past" if when == "past" else "pres" if v.en == "stand" else "prog",
                place=m.two_way("dat"),
            ),
            "subj",
        )
    if pick < 0.38 and noun.tags & {"thing", "own"}:
        return Relative(Clause(COST, head, "pres" if plural else be, pred=m.price(noun)), "subj")
    pool = [
        v
        for v in VERB_LIST
        if v.frame in ("t", "p", "q", "g") and any(set(t.split(":")) <= noun.tags for t in v.objects)
    ]
    if not pool:
        return None
    v = m.rng.choice(pool)
    c = m.clause(pool=[v], when=when, neg=False, adverbs=0.3)
    c = replace(c, manner=None)
    if c.obj:
        c = replace(c, obj=NP(noun, plural, "the"))
    if v.preposition == "in":
        c = replace(c, time=None, place=None)
    return Relative(c, "pobj" if v.frame in "pq" else "obj")


def nest(m: Maker, c: Clause, depth: int) -> Clause:
    """Give the last noun phrase of a clause a relative clause, now and then."""
    role = "obj" if c.obj else "pobj" if c.pobj else ""
    np = c.obj if role == "obj" else c.pobj if role else None
    if (
        depth < 1
        or not np
        or not np.noun
        or np.det not in ("the", "a")
        or np.owner
        or c.goal
        or c.verb.particle
        or np.negated
    ):
        return c
    if (
        "T" in c.verb.flags
        or c.verb.en in ("bake", "cook", "build", "write", "paint", "order")
        or c.modal == "like"
        or not m.chance(0.45)
        or not (rel := relative(m, np.noun, np.plural, depth - 1, "past" if c.tense in ("past", "perf") else ""))
        or rel.clause.verb.en == c.verb.en
    ):
        return c
    np = replace(np, rel=rel)
    c = replace(c, time=None, place=None, manner=None, aspect=None, agent=None)
    return replace(c, obj=np) if role == "obj" else replace(c, pobj=np)


def rel_subject(m: Maker) -> Pair:
    """A relative clause between subject and verb: the verb has to wait."""
    np = m.person_noun(m.rng.choice(["the", "the", "a"]))
    np = replace(np, det="the" if np.det == "this" else np.det, adjectives=np.adjectives if m.chance(0.4) else ())
    if m.chance(0.3):
        noun = m.noun(["thing", "own", "sight"])
        rel = relative(m, noun, "pl" in noun.tags)
        a = m.adjective(noun)
        if rel and a:
            head = NP(noun, "pl" in noun.tags, "the", rel=rel)
            if not rel.clause.pred:
                return finish(*pair_of(Clause(BE, head, m.rng.choice(["pres", "past"]), pred=(a.en, a.de))))
    rel = relative(m, np.noun or m.noun(["person"]), np.plural, 1)
    c = m.clause(subj=replace(np, rel=rel), neg=False, adverbs=0.4)
    return finish(*pair_of(m.fronted(c) if c.obj and not c.verb.prefix else c))


def rel_object(m: Maker) -> Pair:
    """A relative clause on the object, after the verb cluster."""
    while True:
        c = m.clause("tpq", neg=False, adverbs=0)
        c = replace(c, freq=None, manner=None, place=None, aspect=None)
        n = nest(m, c, 2)
        if n is not c and (n.obj or n.pobj):
            if "H" not in n.verb.flags and m.chance(0.4) and (time := m.time(n.tense, n.modal, False)):
                n = replace(n, time=time, front="time")
            return finish(*pair_of(n))


def passive_clause(m: Maker) -> Clause:
    """The object becomes the subject; the agent takes von."""
    while True:
        c = m.clause(pool=[v for v in VERB_LIST if "X" in v.flags], neg=False, adverbs=0.6)
        if not c.obj or c.obj.pronoun or c.obj.name or c.modal in ("want", "would", "like", "able", "allowed"):
            continue
        agent = c.subj if c.subj.noun or c.subj.name else None
        subj = replace(
            c.obj,
            det="the" if c.obj.det in POSSESSIVES or (c.obj.det in ("a", "") and c.obj.plural) else c.obj.det,
        )
        if subj.noun and subj.noun.de_pl == "!":
            subj = replace(subj, det="the")
        tense = "prog" if c.tense == "pres" and not c.modal else c.tense
        return replace(
            c,
            subj=subj,
            obj=None,
            passive=True,
            tense=tense,
            freq=None,
            neg=m.chance(0.1) and subj.definite and not agent,
            agent=agent if m.chance(0.5) else None,
            aspect=None,
            place=None if agent else c.place,
            manner=None,
        )


def passive(m: Maker) -> Pair:
    """Passive main clauses and questions."""
    c = passive_clause(m)
    if m.chance(0.2) and not c.neg:
        return finish(en_clause(c, "ques"), de_clause(c, "first"), "?")
    return finish(*pair_of(m.fronted(c)))


def contrast(m: Maker) -> Pair:
    """not X but Y is sondern, and Y keeps the case of X."""
    while True:
        c = m.clause("td", neg=False, adverbs=0.4)
        role = "obj" if c.obj else "io"
        np = c.obj or c.io
        if (
            not np
            or not np.noun
            or c.aspect
            or c.freq
            or c.modal == "like"
            or c.manner
            or np.plural
            or np.noun.de_pl == "!"
        ):
            continue
        case = "acc" if role == "obj" else "dat"
        noun = np.noun
        other = m.thing(
            [t for t in sorted(c.verb.objects) if set(t.split(":")) <= noun.tags][:1], c.subj, definite=True
        )
        if (
            not other.noun
            or other.noun == np.noun
            or other.plural
            or other.noun.de_pl == "!"
            or "T" in c.verb.flags
        ):
            continue
        det = np.det if np.det in ("the", "a") else "the"
        np = NP(np.noun, False, det, np.adjectives if not any(d for _, d in np.adjectives) else ())
        other = NP(other.noun, False, det, other.adjectives if not any(d for _, d in other.adjectives) else ())
        negated = replace(np, negated=det == "a")
        front = "time" if c.time else ""
        c = replace(c, place=None, front=front)
        if det == "a":
            c = replace(c, obj=negated, neg=True) if role == "obj" else replace(c, io=negated, neg=True)
            en = en_clause(replace(c, neg=True))
            if role == "io":
                continue
            return finish(f"{en} but {other.en('obj')}", f"{de_clause(c)}, sondern {other.de(case)}")
        c = replace(c, obj=None, io=None, neg=True, pred=(np.en("obj"), np.de(case)))
        v = replace(
            c.verb,
            preposition="",
            particle="",
            rest=" ".join([c.verb.rest, c.verb.particle, c.verb.preposition]).strip(),
        )
        c = replace(c, verb=v)
        return finish(f"{en_clause(c)} but {other.en('obj')}", f"{de_clause(c)}, sondern {other.de(case)}")


def but_and(m: Maker) -> Pair:
    """Two main clauses; aber takes a comma, und none."""
    when = m.rng.choice(["past", "now", "later"])
    first = m.fronted(m.clause(when=when, adverbs=0.3, neg=False))
    back = m.back(first.subj)
    if m.chance(0.5):
        second = m.clause(when=when, adverbs=0.2, neg=False)
        return finish(
            f"{en_clause(first)}, and {en_clause(second)}", f"{de_clause(first)} und {de_clause(second)}"
        )
    second = (
        m.clause(subj=back if m.chance(0.6) else None, when=when, adverbs=0.2, neg=m.chance(0.6))
        if m.chance(0.7)
        else state(m, back, when)
    )
    return finish(f"{en_clause(first)}, but {en_clause(second)}", f"{de_clause(first)}, aber {de_clause(second)}")


GOOD = set(listing("new cheap beautiful modern clean comfortable interesting exciting funny fast easy bright"))
BAD = set(listing("old expensive heavy broken dirty dark slow boring difficult strange long"))
WHY = {
    "buy": GOOD,
    "read": GOOD,
    "wear": GOOD,
    "rent": GOOD,
    "use": GOOD,
    "bring along": GOOD,
    "translate": GOOD,
    "sell": BAD,
    "throw away": BAD,
    "repair": {"broken"},
    "wash": {"dirty"},
}


def anaphora(m: Maker) -> Pair:
    """`it` takes the gender of the noun it stands for; the adjective gives a reason that fits."""
    while True:
        noun = m.noun(["thing", "own", "reading"])
        if "pl" in noun.tags:
            continue
        it = NP(pronoun="it_" + noun.gender)
        fits = {a.en: a for a in ADJECTIVE_LIST if a.tags & noun.tags}
        good, bad = [fits[a] for a in sorted(GOOD & set(fits))], [fits[a] for a in sorted(BAD & set(fits))]
        tense = m.rng.choice(["pres", "past"])
        if m.chance(0.3) and good and bad:
            a, b = m.rng.sample([m.rng.choice(good), m.rng.choice(bad)], 2)
            np = NP(noun, False, m.rng.choice(["the", "this", m.possessor(None)]))
            if any({a.en, b.en} <= g for g in EXCLUSIVE):
                continue
            one, two = Clause(BE, np, tense, pred=(a.en, a.de)), Clause(BE, it, tense, pred=(b.en, b.de))
            return finish(f"{en_clause(one)}, but {en_clause(two)}", f"{de_clause(one)}, aber {de_clause(two)}")
        pool = [
            v
            for v in VERB_LIST
            if v.frame == "t" and any(set(t.split(":")) <= noun.tags for t in v.objects) and "H" not in v.flags
        ]
        kind = m.rng.choice(["adjective", "adjective", "wish", "but"])
        firsts = [
            v
            for v in pool
            if kind == "but"
            or (
                f"{v.en} {v.particle}".strip() in WHY
                if kind == "adjective"
                else v.en in ("buy", "look", "rent", "pick")
            )
        ]
        if not firsts:
            continue
        when = m.rng.choice(["past", "past", "later"])
        tense = "past" if when == "past" else "pres"
        one = m.clause(pool=firsts, when=when, neg=None if kind == "adjective" else False, adverbs=0.3)
        np = NP(noun, False, "the" if one.neg else m.rng.choice(["the", "a", "this"]))
        one = replace(
            one,
            obj=np,
            place=None,
            manner=None,
            aspect=None,
            freq=None,
            modal="" if one.modal == "like" else one.modal,
        )
        one = m.fronted(one)
        if kind == "adjective":
            because = m.chance(0.6)
            wanted = WHY[f"{one.verb.en} {one.verb.particle}".strip()]
            if because == one.neg:
                wanted = BAD if wanted is GOOD else GOOD
            able = [fits[a] for a in sorted(wanted & set(fits))]
            if not able or (not because and len(wanted) == 1):
                continue
            b = m.rng.choice(able)
            very = ("very ", "sehr ") if m.chance(0.3) and b.en not in UNGRADED else ("", "")
            two = Clause(BE, it, tense, pred=(very[0] + b.en, very[1] + b.de))
            return finish(
                *joined(
                    pair_of(one), " because" if because else ", although", "weil" if because else "obwohl", two
                )
            )
        pronoun = m.back(one.subj)
        others = [
            v
            for v in pool
            if v.en not in ("forget", "look", "see", "ask", "have", one.verb.en)
            and "N" not in v.flags
            and v.particle not in ("off", "away")
        ]
        if not pronoun or (pronoun.pronoun in ("she", "they") and noun.gender == "f") or not others:
            continue
        modal = "want" if kind == "wish" else m.rng.choice(["want", "able", "have", "allowed"])
        two = Clause(m.rng.choice(others), pronoun, tense, modal, obj=it, neg=kind == "but")
        if kind == "wish":
            return finish(*joined(pair_of(one), " because", "weil", two))
        return finish(f"{en_clause(one)}, but {en_clause(two)}", f"{de_clause(one)}, aber {de_clause(two)}")


def zu(m: Maker) -> Pair:
    """Infinitives with zu and um ... zu, separable prefixes included."""
    kind = m.rng.choice(["verb", "verb", "order", "easy"])
    pool = [v for v in VERB_LIST if v.frame in "tidgrRmpq" and v.frame and doable(v)]
    if kind == "easy":
        pool = [v for v in pool if v.frame == "t" and not {"person", "kin"} & v.objects]
        c = m.clause(pool=pool, subj=NP(pronoun="you"), tense=("pres", ""), neg=False, adverbs=0)
        assert c.obj
        c = replace(
            c, freq=None, place=None, obj=replace(c.obj, det="the" if c.obj.det in POSSESSIVES else c.obj.det)
        )
        en, de = m.rng.choice(
            [
                ("difficult", "schwierig"),
                ("easy", "einfach"),
                ("important", "wichtig"),
                ("boring", "langweilig"),
                ("necessary", "notwendig"),
                ("possible", "möglich"),
            ]
        )
        return finish(f"it is {en} {en_clause(c, 'to')}", f"es ist {de}, {de_clause(c, 'zu')}")
    top = matrix(m, "to")
    if kind == "order":
        pool = [v for v in pool if v.frame in "tgd" or v.en == "go"]
        top = m.clause("m", neg=False, adverbs=0.2, when=m.rng.choice(["past", "later"]))
    c = m.clause(
        pool=pool, subj=replace(top.subj, rel=None), tense=("pres", ""), when="later", neg=False, adverbs=0.2
    )
    c = replace(c, freq=None, aspect=None, time=None)
    en, de = ("in order ", "um ") if kind == "order" else ("", "")
    return finish(f"{en_clause(top)} {en}{en_clause(c, 'to')}", f"{de_clause(top)}, {de}{de_clause(c, 'zu')}")


def pleasing(m: Maker) -> Pair:
    """Verbs whose dative is another English role: gehören; and es gibt."""
    if m.chance(0.5):
        subj = m.thing(["own", "small", "furniture", "clothes", "device"], definite=True)
        c = Clause(
            BELONG,
            replace(subj, owner=None, det=subj.det if subj.det in ("the", "this") else "the"),
            m.rng.choice(["pres", "past"]),
            io=m.thing(["person", "kin"], definite=True),
            neg=m.chance(0.2),
        )
        if m.chance(0.25) and not c.neg:
            return finish(en_clause(c, "ques"), de_clause(c, "first"), "?")
        return finish(*pair_of(c))
    obj = m.thing(["public"])
    plural = obj.det in PLURAL_WORDS or obj.det in NUMBERS or obj.det.isdigit()
    obj = NP(obj.noun, plural, obj.det if plural and obj.noun and obj.noun.de_pl != "!" else "a", obj.adjectives)
    if not obj.adjectives and not obj.plural and obj.noun and (a := m.adjective(obj.noun)):
        obj = replace(obj, adjectives=((a, ""),))
    if obj.noun and obj.noun.en in ("sea", "station", "beach"):
        obj = NP(LEXICON["park"], False, "a")
    city = m.rng.choice(CITY_PAIRS)
    en, de = m.rng.choice(
        [
            ("in this village", "in diesem Dorf"),
            (f"in {city[0]}", f"in {city[1]}"),
            ("in our city", "in unserer Stadt"),
        ]
    )
    return finish(f"{en} there {'are' if obj.plural else 'is'} {obj.en()}", f"{de} gibt es {obj.de('acc')}")


def topic(m: Maker) -> Pair:
    """An object in front: this film I have already seen."""
    while True:
        c = m.clause(
            "t",
            subj=NP(pronoun=m.rng.choice(PRONOUN_SUBJECTS)) if m.chance(0.7) else m.name(),
            when="past",
            adverbs=0,
            neg=m.chance(0.4),
        )
        if (
            c.obj
            and c.obj.noun
            and c.obj.noun.de_pl != "!"
            and not {"S", "H"} & set(c.verb.flags)
            and not c.verb.particle
            and not c.verb.preposition
        ):
            obj = NP(
                c.obj.noun,
                c.obj.plural,
                "this",
                c.obj.adjectives if not any(d for _, d in c.obj.adjectives) else (),
            )
            aspect = ("yet", "noch") if c.neg else ("already", "schon")
            return finish(
                *pair_of(
                    replace(
                        c,
                        obj=obj,
                        tense="perf",
                        modal="",
                        aspect=aspect,
                        front="obj",
                        time=None,
                        manner=None,
                        place=None,
                        freq=None,
                    )
                )
            )


KINDS: list[tuple[Callable[[Maker], Pair], int]] = [
    (plain, 9),
    (giving, 5),
    (moving, 5),
    (lying, 2),
    (being, 6),
    (because, 11),
    (preposed, 11),
    (content, 9),
    (rel_subject, 9),
    (rel_object, 9),
    (asking, 7),
    (yes_no, 5),
    (imperative, 4),
    (contrast, 3),
    (but_and, 5),
    (anaphora, 6),
    (zu, 6),
    (passive, 5),
    (pleasing, 2),
    (topic, 2),
]
TOKEN = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
NAMES = {*MEN, *WOMEN, *SURNAMES} | {c for pair in CITY_PAIRS for c in pair}
NAMES |= {n + "s" for n in NAMES}
MAX_WORDS = 30


NUMERALS = {*NUMBERS, *(n.capitalize() for n in NUMBERS), *NUMBERS.values()}
NUMERALS |= {n.capitalize() for n in NUMBERS.values()}


def types(text: str) -> set[str]:
    """The words of a sentence that ought to have been met in training: no names, no numbers."""
    return {t.removesuffix("'s") for t in TOKEN.findall(text)} - NAMES - NUMERALS


def build(seed: int, train: int, valid: int, test: int) -> dict[str, list[Pair]]:
    """Distinct pairs, distinct on either side; held-out words occur at least five times in train."""
    maker = Maker(seed)
    kinds, weights = [k for k, _ in KINDS], [w for _, w in KINDS]
    seen_en: set[str] = set()
    seen_de: set[str] = set()

    def fresh() -> Pair:
        while True:
            en, de = maker.rng.choices(kinds, weights)[0](maker)
            if en in seen_en or de in seen_de or not 3 <= len(en.split()) <= MAX_WORDS:
                continue
            seen_en.add(en)
            seen_de.add(de)
            return en, de

    splits = {"train": [fresh() for _ in range(train)]}
    known = [Counter(w for pair in splits["train"] for w in types(pair[side])) for side in (0, 1)]
    need = 5 if train >= 5000 else 0
    for name, count in (("valid", valid), ("test", test)):
        splits[name] = []
        while len(splits[name]) < count:
            pair = fresh()
            if all(known[side][w] >= need for side in (0, 1) for w in types(pair[side])):
                splits[name].append(pair)
    return splits


def main(argv: list[str] | None = None) -> int:
    """Write the corpus, or with --check compare it with what is on disk."""
    here = Path(__file__).resolve().parent.parent / "data" / "sample"
    parser = argparse.ArgumentParser(description="Make the English-German sample corpus.")
    parser.add_argument("--out", type=Path, default=here, help="folder for the six files")
    parser.add_argument("--seed", type=int, default=1, help="fixes every sentence")
    parser.add_argument("--train", type=int, default=20000, help="training pairs")
    parser.add_argument("--valid", type=int, default=500, help="validation pairs")
    parser.add_argument("--test", type=int, default=500, help="test pairs")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    args = parser.parse_args(argv)
    differing = []
    for name, pairs in build(args.seed, args.train, args.valid, args.test).items():
        for side, language in enumerate(("en", "de")):
            path = args.out / f"{name}.{language}"
            data = "".join(pair[side] + "\n" for pair in pairs).encode()
            if args.check:
                if not path.is_file() or path.read_bytes() != data:
                    differing.append(str(path))
            else:
                args.out.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    for path_name in differing:
        print(f"differs: {path_name}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
