"""Short texts as alt-texts are, in English and in other languages, that nobody chose with a detector at hand."""

# ruff: noqa: RUF001 - other scripts

ENGLISH = """
Red kite over the reservoir
1967 Ford Mustang Fastback engine bay
Set of four oak dining chairs
Grilled salmon with asparagus
Women's waterproof hiking boots
Map of Devon and Cornwall
Baby elephant at the waterhole
Stained glass window, St Mary's Church
Oil painting of a stormy sea
Spaghetti alla puttanesca recipe
Château de Chenonceau at sunrise
Sagrada Família nave ceiling
Kitchen renovation before and after
Harley Davidson Sportster 883
Crochet blanket pattern free
New Balance 574 grey suede
Yosemite Falls in winter
Portrait of Friedrich Nietzsche
Mercedes-Benz G 63 AMG rear view
Dolce & Gabbana floral silk dress
Vietnam veterans memorial wall
Toyota Hilux lift kit installed
Tiramisu in a glass
Pablo Picasso Guernica detail
Bayern Munich players celebrate
Jalapeño cornbread muffins
Wedding cake with fresh roses
Lego Star Wars Millennium Falcon
Kindergarten classroom rules poster
Modern farmhouse exterior ideas
How to draw a horse step by step
Vintage Coca Cola vending machine
Sunset in Santorini, Greece
Japanese maple in autumn
Taj Mahal reflected in the pool
Blackbird feeding its young
Infographic about water use
Cast iron skillet, 12 inch
Teacher writing on a blackboard
Siberian husky puppy blue eyes
Bohemian Rhapsody movie poster
Rio de Janeiro carnival dancer
Golden Gate Bridge in fog
Andrea Bocelli live in Central Park
Volkswagen Kombi camper interior
Cherry blossom wallpaper border
Stainless steel water bottle, 750 ml
Roman mosaic found in Sussex
Diagram of the human heart
Mini cheesecakes with raspberry sauce
""".strip().splitlines()
OTHER = """
de Alte Mühle am Bach im Herbst
de Rezept für saftigen Apfelkuchen
de Kinderzimmer mit Hochbett und Schreibtisch
de Damen Winterjacke mit Kapuze
de Wanderweg durch die Sächsische Schweiz
fr Vue du port depuis la colline
fr Recette de tarte aux pommes facile
fr Robe longue à fleurs pour femme
fr Maison de campagne avec piscine
fr Carte ancienne de la Bretagne
es Vista de la catedral al atardecer
es Receta de tortilla de patatas
es Vestido largo de fiesta para mujer
es Casa rural con piscina en Asturias
es Dibujo de un caballo para colorear
it Vista del lago dalla terrazza
it Ricetta della torta di mele
it Camera da letto in stile moderno
it Scarpe da uomo in pelle nera
pt Vista da praia ao pôr do sol
pt Receita de bolo de cenoura
pt Vestido longo para casamento
pt Casa com jardim e piscina
nl Uitzicht over de haven van Hoorn
nl Recept voor appeltaart met kaneel
nl Houten eettafel met zes stoelen
sv Utsikt över skärgården på sommaren
sv Recept på kanelbullar med kardemumma
da Udsigt over havnen om morgenen
no Utsikt over fjorden en vinterdag
fi Näkymä järvelle kesäiltana
fi Resepti: helppo omenapiirakka
pl Widok na stare miasto zimą
pl Przepis na sernik z malinami
cs Pohled na starý most v zimě
cs Recept na bramborový salát
sk Pohľad na hrad nad riekou
hu Kilátás a várra a folyó felől
ro Vedere asupra lacului la apus
tr Boğaz manzarası ve eski köprü
tr Fırında patates tarifi
id Pemandangan gunung di pagi hari
id Resep nasi goreng sederhana
ms Rumah kayu di tepi sungai
vi Cảnh hoàng hôn trên bãi biển
vi Cách nấu phở bò tại nhà
tl Tanawin ng dagat sa umaga
ca Vista del port des del castell
eu Mendiaren ikuspegia udaberrian
hr Pogled na more s tvrđave
lt Senamiesčio vaizdas žiemą
et Vaade vanalinnale talvel
ru Вид на старую крепость зимой
uk Вид на старий міст узимку
bg Изглед към планината през зимата
sr Поглед на стару тврђаву
el Θέα στο λιμάνι το πρωί
ar منظر البحر عند الغروب
fa نمای کوه در زمستان
he נוף של הנמל בבוקר
hi सर्दियों में पहाड़ का दृश्य
bn শীতের সকালে গ্রামের দৃশ্য
ta கடற்கரையில் காலை காட்சி
th วิวภูเขาในตอนเช้า
ja 冬の朝の港の風景
zh 冬天早晨的港口风景
ko 겨울 아침의 항구 풍경
ka ზამთრის დილა ნავსადგურში
hy Ձմեռային առավոտ նավահանգստում
sw Mtazamo wa bahari asubuhi
""".strip().splitlines()
